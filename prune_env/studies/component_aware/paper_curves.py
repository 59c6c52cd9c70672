"""Curves of the experiment on the paper-size controller, from its rows.

Letters: E episodes or seeds, over which intervals are; S sparsities.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from prune_env.studies.component_aware.paper_job import DENSE, FREE, RANDOM
from prune_env.studies.component_aware.paper_plan import SPARSITIES
from prune_env.studies.component_aware.study import steepest_fall
from prune_env.studies.core import Interval, Rows

Array = NDArray[np.float64]

_RESAMPLES = 2000


class Curve(NamedTuple):
    """Retained return of one method: sparsities [S] that were run, and values [E, S]."""

    sparsities: Array
    values: Array


def stages(rows: Rows) -> list[int]:
    """Updates of fine-tuning that occur, ascending; 0 is right after the cut."""
    return sorted({int(row["steps"]) for row in rows})


def stage_name(steps: int) -> str:
    """In words."""
    return f"after {steps} updates of fine-tuning" if steps else "right after the cut"


def returns_of(rows: Rows, controller: str, method: str, encoder: str, sparsity: float, steps: int) -> Array:
    """Returns [seeds, starts]; [0, 0] if it was not run. Of several numbers of episodes, the largest counts."""
    wanted = {"controller": controller, "method": method, "encoder": encoder, "sparsity": sparsity, "steps": steps}
    found = [row for row in rows if wanted.items() <= row.items()]
    most = max((int(row["episodes"]) for row in found), default=0)
    lists = [[float(x) for x in str(row["returns"]).split()] for row in found if row["episodes"] == most]
    return np.array(lists).reshape(len(lists), most)


def curve(rows: Rows, controller: str, method: str, encoder: str = FREE, steps: int = 0) -> Curve:
    """Retained return against sparsity, of the starts that the references share."""
    dense, random = (returns_of(rows, controller, name, FREE, 0.0, 0) for name in (DENSE, RANDOM))
    found = {s: v for s in SPARSITIES if (v := returns_of(rows, controller, method, encoder, s, steps)).size}
    if not (found and dense.size and random.size):
        return Curve(np.zeros(0), np.zeros((0, 0)))
    starts = min(v.shape[1] for v in [*found.values(), dense, random])
    floor, top = random[:, :starts].mean(), dense[:, :starts].mean()
    per_entry = [v[:, :starts].mean(axis=1) if steps else v[0, :starts] for v in found.values()]
    fewest = min(map(len, per_entry))
    values = (np.stack([v[:fewest] for v in per_entry], axis=1) - floor) / (top - floor)
    return Curve(np.array(list(found)), values)


def common(first: Curve, second: Curve) -> tuple[Curve, Curve]:
    """Two curves at the sparsities, and over the starts, that both have."""
    both = np.intersect1d(first.sparsities, second.sparsities)
    entries = min(len(first.values), len(second.values))
    parts = [Curve(both, c.values[:entries][:, np.isin(c.sparsities, both)]) for c in (first, second)]
    return parts[0], parts[1]


def fall_difference(steeper: Curve, gentler: Curve) -> Interval:
    """Difference of the steepest falls of the mean curves, and its 95 % bootstrap interval over entries."""
    entries = len(steeper.values)
    drawn = np.random.default_rng(0).integers(entries, size=(_RESAMPLES, entries))
    whole = np.arange(entries)[None]

    def falls(index: Any) -> Array:
        return np.asarray(
            steepest_fall(steeper.values[index].mean(axis=1), steeper.sparsities)
            - steepest_fall(gentler.values[index].mean(axis=1), gentler.sparsities)
        )

    low, high = np.quantile(falls(drawn), (0.025, 0.975))
    return Interval(falls(whole)[0], low, high)
