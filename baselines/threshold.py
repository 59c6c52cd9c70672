"""Privileged: one threshold over the channel scores of the whole network, as global pruning does it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from prune_env.baselines.allocation import AMOUNT, threshold_widths
from prune_env.baselines.privileged import Privileged
from prune_env.envs import NetworkView, PruningEnv


class GlobalThreshold(Privileged):
    """Remove the channels with the lowest scores, wherever they lie, until the round's budget is met.

    Only how many channels each group loses is taken from the threshold; which ones is the environment's criterion, the
    same for all policies.

    Args:
        env: As for `Privileged`.
        criterion: Name of the channel score, see `prune_env.importance.CRITERIA`.
        relative: Divide each group's scores by their mean first, which takes the scale of the groups out.
        amount: As for `Privileged`.
    """

    def __init__(
        self, env: PruningEnv, criterion: str = "fisher_weight", relative: bool = False, amount: float = AMOUNT
    ):
        super().__init__(env, amount)
        self._criterion, self._relative = criterion, relative

    def ratios(self, view: NetworkView) -> np.ndarray:
        """The ratios [G] that the threshold comes to."""
        scores, group_of, widths = view.scores(self._criterion), view.group_of, view.widths
        if self._relative:
            means = np.bincount(group_of, weights=scores, minlength=len(widths)) / widths
            scores = scores / np.maximum(means, np.finfo(float).tiny)[group_of]
        kept = threshold_widths(scores, group_of, widths, view.least_widths, view.cost_of, self.cost_target(view))
        return 1.0 - kept / widths


THRESHOLDS: dict[str, Callable[..., GlobalThreshold]] = {
    "global": GlobalThreshold,
    "global-l2": partial(GlobalThreshold, criterion="l2"),
    "global-l2-rel": partial(GlobalThreshold, criterion="l2", relative=True),
    "global-fisher": partial(GlobalThreshold, criterion="fisher_weight"),
    "global-fisher-rel": partial(GlobalThreshold, criterion="fisher_weight", relative=True),
}
"""Those with a name of their own; Fisher x weight squared is Theis et al. 2018 (arXiv 1801.05787)."""
