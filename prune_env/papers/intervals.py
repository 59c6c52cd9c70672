"""Means over seeds with bootstrap intervals, and the verdicts that follow from them.

Letters: N seeds, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from prune_env.benchmark.statistics import RESAMPLES, FloatArray, Interval
from prune_env.papers.study import Verdict

LEAST_SEEDS = 3
"""With fewer, resamples say nothing of how seeds differ, and nothing is decided."""


def _itself(means: FloatArray) -> FloatArray:
    return means


def over_seeds(values: ArrayLike, function: Callable[[FloatArray], Any] = _itself, level: float = 0.95) -> Interval:
    """Percentile bootstrap interval of a function of the mean over seeds; each call draws the same resamples.

    Args:
        values: [N, ...], one entry for each seed.
        function: Maps means [R, ...] to [R, ...]; by default the means themselves.
        level: Coverage of the interval.

    Returns:
        The function of the mean and its bounds; the bounds are NaN with fewer than `LEAST_SEEDS`.
    """
    values = np.asarray(values, dtype=float)
    count = len(values)
    value = function(values.mean(axis=0)[None])[0]
    if count < LEAST_SEEDS:
        nothing = np.full(np.shape(value), np.nan)[()]
        return Interval(value, nothing, nothing)
    rows = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    draws = function(values[rows].mean(axis=1))
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(value, low, high)


def entry(interval: Interval, index: Any) -> Interval:
    """One of many intervals."""
    return Interval(*(np.asarray(part)[index] for part in interval))


def above(interval: Interval, bound: float = 0.0) -> Verdict:
    """The statement "it is above the bound" is decided where all of the interval lies on one side."""
    if interval.low > bound:
        return "agrees"
    return "disagrees" if interval.high < bound else "cannot be decided"


def below(interval: Interval, bound: float = 0.0) -> Verdict:
    """The statement "it is below the bound" is decided where all of the interval lies on one side."""
    if interval.high < bound:
        return "agrees"
    return "disagrees" if interval.low > bound else "cannot be decided"


def written(interval: Interval, digits: int = 2) -> str:
    """E.g. "0.41 [0.30, 0.52]"; the mean alone where there are no bounds."""
    value, low, high = (f"{round(float(x), digits) + 0.0:.{digits}f}" for x in interval)  # 0.0 makes -0.0 a plain zero
    return value if low == "nan" else f"{value} [{low}, {high}]"
