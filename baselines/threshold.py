"""Global pruning, privileged: one threshold over the channel scores of the whole network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from prune_env.baselines.allocation import AMOUNT, threshold_widths
from prune_env.baselines.privileged import Privileged
from prune_env.envs import NetworkView, PruningEnv
from prune_env.importance import CRITERIA
from prune_env.open_sets import configured
from prune_env.validation import check_value


class GlobalThreshold(Privileged):
    """Remove the channels with the lowest scores in the whole network until the round's budget is met.

    The threshold decides how many channels each group loses; the environment's criterion decides which, as for all
    policies.

    Args:
        env: As for `Privileged`.
        criterion: Name of the channel score, see `prune_env.importance.CRITERIA`.
        relative: Whether each group's scores are divided by their mean first, which removes the groups' scales.
        amount: As for `Privileged`.

    Raises:
        ValueError: If the criterion is unknown or random, or an argument is out of range.
    """

    def __init__(
        self, env: PruningEnv, criterion: str = "fisher_weight", relative: bool = False, amount: float = AMOUNT
    ):
        super().__init__(env, amount)
        configured("criterion", criterion, {name: known for name, known in CRITERIA.items() if not known.draws})
        check_value("relative", relative, bool)
        self._criterion, self._relative = criterion, relative

    def ratios(self, view: NetworkView) -> np.ndarray:
        """The ratios [G] at the threshold."""
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
"""Name -> global threshold; Fisher x weight squared is from Theis et al. 2018 (arXiv 1801.05787)."""
