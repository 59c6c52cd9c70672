"""The policy that shares out a budget by sensitivity curves, privileged: least summed damage within the exact cost."""

from __future__ import annotations

import numpy as np

from prune_env.baselines.allocation import AMOUNT
from prune_env.baselines.dynamic_programming import knapsack
from prune_env.baselines.privileged import Privileged
from prune_env.baselines.sensitivity import POINTS, measure_sensitivity
from prune_env.envs import NetworkView, PruningEnv
from prune_env.validation import Range, check_value


class Knapsack(Privileged):
    """Measure the sensitivity curve of every group, then choose the widths with the least sum of damages.

    A knapsack as in Aflalo et al. 2020 (arXiv 2002.08258), solved by dynamic programming as in SPDY (Frantar
    and Alistarh 2022, arXiv 2202.13771). Their costs are sums over layers; here the cost is exact, in the unit of the
    budget, latency too. That damages add up is an assumption.

    Args:
        env: As for `Privileged`.
        points: Trials of each group, at least 1; one more trial has no cut.
        levels: Widths of a group to choose from, at least 2; between the points the curve is linear.
        steps: Training steps of a trial; by default those of a round.
        amount: As for `Privileged`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self, env: PruningEnv, points: int = POINTS, levels: int = 20, steps: int | None = None, amount: float = AMOUNT
    ):
        super().__init__(env, amount)
        check_value("points", points, int, Range(1))
        check_value("levels", levels, int, Range(2))
        if steps is not None:
            check_value("steps", steps, int, Range(0))
        self._points, self._levels, self._steps = points, levels, steps

    def ratios(self, view: NetworkView) -> np.ndarray:
        """The ratios [G] of the solution."""
        curves = measure_sensitivity(view, self._points, self.max_ratio, self._steps)
        shares = np.linspace(self.max_ratio, 0.0, self._levels)
        widths = view.widths_at(np.repeat(shares[:, None], self.groups, axis=1)).T  # [G, L]
        levels = [np.unique(column) for column in widths]
        damage = [curves.damage(g, options) for g, options in enumerate(levels)]
        return 1.0 - knapsack(levels, damage, view.cost_of, self.cost_target(view)) / view.widths
