"""LAMP for channels, privileged: a global threshold over scores that say what a channel is worth in its group.

Letters: G groups, W present channels of all groups, flat in group order.
"""

from __future__ import annotations

import numpy as np

from prune_env.baselines.allocation import AMOUNT, threshold_widths
from prune_env.baselines.privileged import Privileged
from prune_env.envs import NetworkView, PruningEnv
from prune_env.importance import CRITERIA
from prune_env.open_sets import find


def lamp_scores(magnitude: np.ndarray, group_of: np.ndarray) -> np.ndarray:
    """m_u^2 / (sum of m_v^2 over the channels v of the group with m_v >= m_u), [W].

    Lee et al. 2021 (arXiv 2010.07611, equation 3), with a channel's magnitude in place of a weight. The largest
    channel of every group has score 1, so that no threshold empties a group. Of equal channels, the earlier has the
    smaller score.

    Args:
        magnitude: Not negative, float [W].
        group_of: Group of every channel, int [W].
    """
    order = np.lexsort((magnitude, group_of))
    # Scaled by the group's largest, since squares of small numbers are lost beside those of other groups.
    largest = np.zeros(int(group_of.max(initial=-1)) + 1)
    np.maximum.at(largest, group_of, magnitude)
    square = np.square(magnitude / np.where(largest > 0, largest, 1.0)[group_of])[order]
    groups = group_of[order]
    ends = np.flatnonzero(np.r_[np.diff(groups) != 0, True])
    from_here = np.cumsum(square[::-1])[::-1]  # over the channel and all after it, later groups included
    after = np.append(from_here[1:], 0.0)[ends]  # what the later groups add
    above = from_here - after[np.searchsorted(ends, np.arange(len(groups)))]
    scores = np.empty(len(magnitude))
    scores[order] = square / np.maximum(above, np.finfo(float).tiny)
    scores[order[ends]] = 1.0
    return scores


class LAMP(Privileged):
    """One threshold over the layer-adaptive magnitude scores of all channels, until the round's budget is met.

    Args:
        env: As for `Privileged`.
        criterion: Magnitude of a channel, a name of `prune_env.importance.CRITERIA`; in the paper abs(w) of a weight.
        amount: As for `Privileged`.

    Raises:
        ValueError: If the criterion is unknown or random, or an argument is out of range.
    """

    def __init__(self, env: PruningEnv, criterion: str = "l2", amount: float = AMOUNT):
        super().__init__(env, amount)
        find("criterion", criterion, {name: known for name, known in CRITERIA.items() if not known.draws})
        self._criterion = criterion

    def ratios(self, view: NetworkView) -> np.ndarray:
        """The ratios [G] at the threshold."""
        group_of, widths = view.group_of, view.widths
        scores = lamp_scores(np.abs(view.scores(self._criterion)), group_of)
        kept = threshold_widths(scores, group_of, widths, view.least_widths, view.cost_of, self.cost_target(view))
        return 1.0 - kept / widths
