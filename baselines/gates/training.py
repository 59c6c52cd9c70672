"""Train the network with gates on its channels, privileged; every training step is counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from prune_env.baselines.allocation import AMOUNT, threshold_widths
from prune_env.baselines.privileged import Privileged
from prune_env.envs import NetworkView, PruningEnv
from prune_env.gates import GATES
from prune_env.open_sets import configured
from prune_env.validation import Range, check_value


class GateTraining(Privileged):
    """Let gates learn which channels to remove, and remove the least open of the whole network until the budget is met.

    In every round the network trains with one gate per channel for a number of steps before it is cut. The cut removes
    the channels that the gates have chosen; the environment's criterion is not asked.

    Args:
        env: As for `Privileged`.
        rule: How gates train, a name of `prune_env.gates.GATES`, options behind it.
        steps: Training steps with gates in each round, at least 1.
        amount: As for `Privileged`.

    Raises:
        ValueError: If the rule is unknown or a number is out of range.
    """

    def __init__(self, env: PruningEnv, rule: str = "l0", steps: int = 100, amount: float = AMOUNT):
        super().__init__(env, amount)
        configured("gates", rule, GATES)
        check_value("steps", steps, int, Range(1))
        self._rule, self._steps = rule, steps

    def ratios(self, view: NetworkView) -> np.ndarray:
        """The ratios [G] at which as many channels go as the budget asks, the least open first."""
        target, widths = self.cost_target(view), view.widths
        openness = view.train_gates(self._rule, self._steps, target)
        kept = threshold_widths(openness, view.group_of, widths, view.least_widths, view.cost_of, target)
        return 1.0 - kept / widths


LEARNED_GATES: dict[str, Callable[..., GateTraining]] = {
    f"gates-{rule}": partial(GateTraining, rule=rule) for rule in GATES
}
"""Name -> policy, one for each rule of this package."""
