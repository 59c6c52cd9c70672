"""Means over seeds with Student's t intervals, and verdicts derived from them.

Letters: N seeds, K settings of a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

from prune_env.benchmark.intervals import Interval
from prune_env.studies.core.study import Verdict

LEAST_SEEDS = 3
"""Fewer seeds give no interval and no verdict."""


def over_seeds(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean over seeds and its t interval; a bootstrap of so few seeds would give little more than their range.

    Args:
        values: [N, ...], one entry for each seed.
        level: Coverage of the interval.

    Returns:
        Mean and bounds, each [...]; the bounds are NaN with fewer than `LEAST_SEEDS`.
    """
    values = np.asarray(values, dtype=float)
    count, mean = len(values), values.mean(axis=0)
    if count < LEAST_SEEDS:
        nothing = np.full(np.shape(mean), np.nan)[()]
        return Interval(mean, nothing, nothing)
    half = student.ppf((1 + level) / 2, count - 1) * values.std(axis=0, ddof=1) / np.sqrt(count)
    return Interval(mean, mean - half, mean + half)


def over_settings(strata: Sequence[Sequence[float]], level: float = 0.95) -> Interval:
    """Mean over settings of means over seeds, and its interval; settings are fixed effects, only seeds are random.

    The degrees of freedom are those of Welch and Satterthwaite, as variances may differ between settings.

    Args:
        strata: The values of every setting, [K] of [N].
        level: Coverage of the interval.

    Returns:
        Mean and bounds; the bounds are NaN if a setting has fewer than `LEAST_SEEDS`.
    """
    mean = float(np.mean([np.mean(values) for values in strata]))
    if min(map(len, strata)) < LEAST_SEEDS:
        return Interval(mean, np.nan, np.nan)
    parts = np.array([np.var(values, ddof=1) / len(values) for values in strata])
    if not parts.any():
        return Interval(mean, mean, mean)
    freedom = parts.sum() ** 2 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, strata, strict=True))
    half = float(student.ppf((1 + level) / 2, freedom) * np.sqrt(parts.sum()) / len(strata))
    return Interval(mean, mean - half, mean + half)


def entry(interval: Interval, index: Any) -> Interval:
    """One of an array of intervals."""
    return Interval(*(np.asarray(part)[index] for part in interval))


def above(interval: Interval, bound: float = 0.0) -> Verdict:
    """Verdict on "the mean is above the bound", decided if the whole interval lies on one side."""
    if interval.low > bound:
        return "agrees"
    return "disagrees" if interval.high < bound else "cannot be decided"


def below(interval: Interval, bound: float = 0.0) -> Verdict:
    """Verdict on "the mean is below the bound", decided if the whole interval lies on one side."""
    if interval.high < bound:
        return "agrees"
    return "disagrees" if interval.low > bound else "cannot be decided"


def all_of(verdicts: Sequence[Verdict]) -> Verdict:
    """Verdict on a conjunction: one part that disagrees decides against it."""
    if "disagrees" in verdicts:
        return "disagrees"
    return "agrees" if set(verdicts) == {"agrees"} else "cannot be decided"


def unanimous(verdicts: Sequence[Verdict]) -> Verdict:
    """The common verdict, if all are equal."""
    return verdicts[0] if len(set(verdicts)) == 1 else "cannot be decided"


def format_interval(interval: Interval, digits: int = 2) -> str:
    """Format as "0.41 [0.30, 0.52]", or as the mean alone without bounds."""
    value, low, high = (f"{round(float(x), digits) + 0.0:.{digits}f}" for x in interval)  # 0.0 makes -0.0 a plain zero
    return value if low == "nan" else f"{value} [{low}, {high}]"
