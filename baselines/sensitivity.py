"""Sensitivity curves: what each group alone costs when it is cut, by trial cuts, which are counted.

Letters: G groups, P points of a curve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from prune_env.envs import NetworkView
from prune_env.validation import Range, check_value

POINTS = 6
"""Points of a curve: as many trials for each group."""


@dataclass(frozen=True)
class Sensitivity:
    """Retained score of a network of which one group alone is cut (Li et al. 2017, arXiv 1608.08710, section 3.2).

    Attributes:
        groups: Names of the groups, [G].
        present: Channels of each group before the cut, int [G].
        widths: Channels of the group that is cut, int [G, P], falling; equal neighbours are one trial.
        retained: Retained score on validation data after the cut and training, [G, P].
        untouched: The same with no group cut.
    """

    groups: tuple[str, ...]
    present: np.ndarray
    widths: np.ndarray
    retained: np.ndarray
    untouched: float

    @property
    def ratios(self) -> np.ndarray:
        """Share of the group's channels removed, [G, P]."""
        return 1.0 - self.widths / self.present[:, None]

    def damage(self, group: int, widths: np.ndarray) -> np.ndarray:
        """Retained score that is lost at widths int [n] of one group, float [n].

        Between the points it is linear. It never falls as the cut gets deeper: where a curve does, that is noise.
        """
        at = np.concatenate([[self.present[group]], self.widths[group]])
        lost = np.maximum.accumulate(np.concatenate([[0.0], self.untouched - self.retained[group]]))
        return np.interp(widths, at[::-1], lost[::-1])


def measure_sensitivity(
    view: NetworkView,
    points: int = POINTS,
    max_ratio: float = 0.95,
    steps: int | None = None,
    on_trial: Callable[[], None] = lambda: None,
) -> Sensitivity:
    """Cut one group at a time to evenly spaced ratios, train and score; at most G * `points` + 1 trials.

    Args:
        view: Of the network.
        points: Points of a curve, at least 1.
        max_ratio: The deepest cut, in (0, 1).
        steps: Training steps after a cut; by default those of a round.
        on_trial: Called after each point.
    """
    check_value("points", points, int, Range(1))
    check_value("max_ratio", max_ratio, float, Range(0, 1, "()"))
    present = view.widths
    ratios = max_ratio * np.arange(1, points + 1) / points
    widths = view.widths_at(np.repeat(ratios[:, None], len(present), axis=1)).T  # [G, P]
    retained = np.empty(widths.shape)
    untouched = view.evaluate_widths(present, steps)
    on_trial()
    for g, curve in enumerate(widths):
        known = {int(present[g]): untouched}
        for p, width in enumerate(curve.tolist()):
            if width not in known:
                known[width] = view.evaluate_widths(np.where(np.arange(len(present)) == g, width, present), steps)
            retained[g, p] = known[width]
            on_trial()
    return Sensitivity(view.names, present, widths, retained, untouched)
