"""Statistics of score matrices laid out as runs x tasks.

A task is a stratum (a kind of network), a run is one network under one evaluation seed. Strata may have different
numbers of runs: NaN fills a matrix up and is left out everywhere. A *statistic* maps [..., N, K] to [...].

Letters: B budgets, N runs of the largest stratum, K strata, T thresholds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import trapezoid

FloatArray = NDArray[np.float64]


def area_under_curve(retained: ArrayLike, sparsities: ArrayLike, axis: int = -1) -> FloatArray:
    """Area under the curve of retained score over sparsity, by the trapezoid rule, divided by the range of sparsities.

    With one sparsity it is the retained score there.

    Args:
        retained: [..., B, ...].
        sparsities: [B], ascending.
        axis: Where B is.
    """
    curve, x = np.moveaxis(np.asarray(retained, dtype=float), axis, -1), np.asarray(sparsities, dtype=float)
    if (np.diff(x) <= 0).any():
        raise ValueError(f"sparsities must ascend, got {x.tolist()}")
    if len(x) == 1:
        return np.asarray(curve[..., 0])
    return np.asarray(trapezoid(curve, x, axis=-1) / (x[-1] - x[0]))


def hypervolume(sparsity: ArrayLike, retained: ArrayLike, axis: int = -1) -> FloatArray:
    """Area of the (sparsity, retained score) plane that a curve's points dominate, with reference (0, 0).

    Args:
        sparsity: [..., B, ...], as achieved, in any order.
        retained: The same shape; points with negative retained score dominate nothing.
        axis: Where B is.
    """
    x, y = (np.moveaxis(np.asarray(a, dtype=float), axis, -1) for a in (sparsity, retained))
    order = np.argsort(x, axis=-1)
    x, y = (np.take_along_axis(np.maximum(a, 0.0), order, axis=-1) for a in (x, y))
    best_beyond = np.maximum.accumulate(y[..., ::-1], axis=-1)[..., ::-1]
    return np.asarray((np.diff(x, axis=-1, prepend=0.0) * best_beyond).sum(axis=-1))


def interquartile_mean(scores: ArrayLike) -> FloatArray:
    """Mean of the middle half of all runs of all strata together, [..., N, K] -> [...].

    It is `scipy.stats.trim_mean(runs, 0.25)` with NaN left out; not a number where there are no runs.
    """
    scores = np.asarray(scores, dtype=float)
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)  # NaN comes last
    runs = (~np.isnan(flat)).sum(axis=-1, keepdims=True)
    cut = runs // 4
    rank = np.arange(flat.shape[-1])
    return _mean(np.where((rank >= cut) & (rank < runs - cut), flat, np.nan), axis=-1)


def run_mean(scores: ArrayLike) -> FloatArray:
    """Plain mean over all runs of all strata together, [..., N, K] -> [...]; of collapses, it is their share."""
    return _mean(np.asarray(scores, dtype=float), axis=(-2, -1))


def probability_of_improvement(first: ArrayLike, second: ArrayLike) -> FloatArray:
    """Probability that a run of the first policy beats one of the second (arXiv 2108.13264, §4.3).

    It is averaged over strata, and strata in which either has no run are left out. All pairs of runs within a stratum
    count, a tie as one half (the Mann-Whitney statistic).

    Args:
        first: [..., N, K].
        second: [..., N, K].
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    wins = np.zeros(np.broadcast_shapes(first.shape, second.shape)[:-2] + first.shape[-1:])
    for n in range(first.shape[-2]):  # a row at a time: all pairs of all resamples would not fit into memory
        row = first[..., n : n + 1, :]
        wins += (row > second).sum(axis=-2) + 0.5 * (row == second).sum(axis=-2)
    pairs = (~np.isnan(first)).sum(axis=-2) * (~np.isnan(second)).sum(axis=-2)
    return _mean(np.divide(wins, pairs, out=np.full(wins.shape, np.nan), where=pairs > 0), axis=-1)


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> FloatArray:
    """Share of runs that score above each threshold, averaged over strata (arXiv 2108.13264, §4.2).

    Args:
        scores: [..., N, K].
        thresholds: [T].

    Returns:
        [..., T].
    """
    scores = np.asarray(scores, dtype=float)
    shares = [
        _mean(_mean(np.where(np.isnan(scores), np.nan, scores > threshold), axis=-2), axis=-1)
        for threshold in np.asarray(thresholds, dtype=float)
    ]
    return np.stack(shares, axis=-1)


def difference(first: FloatArray, second: FloatArray) -> FloatArray:
    """Difference of interquartile means, [..., N, K] twice -> [...]."""
    return interquartile_mean(first) - interquartile_mean(second)


def ratio(first: FloatArray, second: FloatArray) -> FloatArray:
    """Ratio of interquartile means, [..., N, K] twice -> [...]; NaN where the second is not positive."""
    above, below = interquartile_mean(first), interquartile_mean(second)
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)


def _mean(values: FloatArray, axis: int | tuple[int, ...]) -> FloatArray:
    """Mean without the NaN entries; NaN (and no warning) where nothing else is left."""
    count = (~np.isnan(values)).sum(axis=axis)
    total = np.nansum(values, axis=axis)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)
