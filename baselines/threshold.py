"""Privileged: one threshold over the channel scores of the whole network, as global pruning does it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from baselines.allocation import AMOUNT, threshold_widths
from prune_env.envs import NetworkView, PruningEnv


class GlobalThreshold:
    """Remove the channels with the lowest scores, wherever they lie, until the round's budget is met.

    Only how many channels each group loses is taken from the threshold; which ones is the environment's criterion, the
    same for all policies.

    Args:
        env: Tells the bound of the ratios.
        criterion: Name of the channel score.
        normalise: Divide each group's scores by their mean first, which takes the scale of the groups out.
        amount: Share of the cost that goes per round where there is no budget.
    """

    privileged: ClassVar[bool] = True
    learned: ClassVar[bool] = False

    def __init__(self, env: PruningEnv, criterion: str, normalise: bool, amount: float = AMOUNT):
        self._criterion, self._normalise, self._amount = criterion, normalise, amount
        self._max_ratio = env.max_ratio
        self._view: NetworkView | None = None

    def attach(self, view: NetworkView) -> None:
        """Look at this network from now on; called by the benchmark before every action."""
        self._view = view

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """The ratios [G] that the threshold comes to in the network it is attached to; the observation is not read.

        Raises:
            RuntimeError: If no network was attached.
        """
        if self._view is None:
            raise RuntimeError("a privileged policy needs attach(env.unwrapped.view) before predict()")
        view, scores = self._view, self._view.scores(self._criterion)
        if self._normalise:
            sums = np.bincount(view.group_of, weights=scores, minlength=len(view.widths))
            means = sums / np.bincount(view.group_of, minlength=len(view.widths))
            scores = scores / np.maximum(means, np.finfo(float).tiny)[view.group_of]
        target = view.cost_target
        if target is None:
            target = (1.0 - self._amount) * float(view.cost_of(view.widths))
        kept = threshold_widths(scores, view.group_of, view.widths, view.least_widths, view.cost_of, target)
        ratios = 1.0 - kept / view.widths
        return np.clip(ratios, 0.0, self._max_ratio).astype(np.float32), state


def global_l2(env: PruningEnv) -> GlobalThreshold:
    """L2 norm of each channel, as it is."""
    return GlobalThreshold(env, "l2", normalise=False)


def global_l2_normalised(env: PruningEnv) -> GlobalThreshold:
    """L2 norm of each channel over its group's mean."""
    return GlobalThreshold(env, "l2", normalise=True)


def global_fisher(env: PruningEnv) -> GlobalThreshold:
    """Fisher x weight squared of each channel, as it is."""
    return GlobalThreshold(env, "fisher_weight", normalise=False)


def global_fisher_normalised(env: PruningEnv) -> GlobalThreshold:
    """Fisher x weight squared of each channel over its group's mean."""
    return GlobalThreshold(env, "fisher_weight", normalise=True)
