"""NetAdapt's greedy, privileged: step by step, the group whose cut alone meets the next budget at the least loss.

Letters: G groups, K widths of a group.
"""

from __future__ import annotations

import numpy as np

from prune_env.baselines.allocation import AMOUNT
from prune_env.baselines.privileged import Privileged
from prune_env.envs import NetworkView, PruningEnv
from prune_env.validation import Range, check_value


class NetAdapt(Privileged):
    """Shrink one group at a time (Yang et al. 2018, arXiv 1804.03230, algorithm 1).

    The way to the budget has `iterations` intermediate ones. In each, every group proposes the largest width that
    meets it with the others as they are; the proposals are tried, and the best is taken. Each intermediate budget
    takes the same share of what is left, so that steps get smaller, as in the paper. There, the network is kept from
    one iteration to the next; here, every trial begins from the network as it stands in this round.

    Args:
        env: As for `Privileged`.
        iterations: Intermediate budgets, at least 1; each costs at most a trial for every group.
        steps: Training steps of a trial, the paper's short-term fine-tuning; by default those of a round.
        amount: As for `Privileged`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, env: PruningEnv, iterations: int = 6, steps: int | None = None, amount: float = AMOUNT):
        super().__init__(env, amount)
        check_value("iterations", iterations, int, Range(1))
        if steps is not None:
            check_value("steps", steps, int, Range(0))
        self._iterations, self._steps = iterations, steps

    def ratios(self, view: NetworkView) -> np.ndarray:
        """The ratios [G] after the last iteration."""
        present, target = view.widths, self.cost_target(view)
        widths, cost = present.copy(), float(view.cost_of(present))
        rate = min(target / cost, 1.0) ** (1.0 / self._iterations)
        allowed = self._allowed(view)
        while cost > target:
            goal = max(cost * rate, target)
            proposals = [self._proposal(view, widths, g, allowed[g], goal) for g in range(self.groups)]
            proposals = [proposal for proposal in proposals if not np.array_equal(proposal, widths)]
            if not proposals:
                break
            values = [view.evaluate_widths(proposal, self._steps) for proposal in proposals]
            widths = proposals[int(np.argmax(values))]
            cost = float(view.cost_of(widths))
        return 1.0 - widths / present

    def _allowed(self, view: NetworkView) -> list[np.ndarray]:
        """Widths that each group may have, ascending, G arrays int [K]."""
        largest = int(view.widths.max())
        ratios = np.minimum(np.arange(largest + 1)[:, None] / view.widths, self.max_ratio)
        return [np.unique(column) for column in view.widths_at(ratios).T]

    def _proposal(self, view: NetworkView, widths: np.ndarray, g: int, allowed: np.ndarray, goal: float) -> np.ndarray:
        """The widths int [G] with the largest width of group g that meets the goal, or its smallest if none does."""
        options = np.repeat(widths[None], len(allowed), axis=0)
        options[:, g] = allowed
        options = options[allowed <= widths[g]]
        fits = np.flatnonzero(view.cost_of(options) <= goal)
        return options[fits[-1] if len(fits) else 0]
