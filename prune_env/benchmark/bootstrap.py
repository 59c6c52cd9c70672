"""Percentile intervals of a stratified bootstrap (Agarwal et al. 2021, arXiv 2108.13264, section 4.1).

Within each stratum, networks are drawn with replacement, each with all of its seeds, since two seeds on one network are
not two independent runs. With one seed per network that is the paper's bootstrap over runs.

Letters: N runs of the largest stratum, K strata, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prune_env.benchmark.statistics import FloatArray

Statistic = Callable[[FloatArray], Any]

RESAMPLES = 2000


class Interval(NamedTuple):
    """An estimate and its bounds; the bounds are NaN where there was nothing to resample."""

    value: Any
    low: Any
    high: Any


def resample_runs(
    valid: NDArray[np.bool_], rng: np.random.Generator, resamples: int = RESAMPLES, seeds_per_network: int = 1
) -> NDArray[np.intp]:
    """Draw networks with replacement within each stratum, as many as it has.

    Args:
        valid: [N, K], which runs there are.
        rng: Source of randomness.
        resamples: R.
        seeds_per_network: S; rows n with the same n // S are runs on the same network and are drawn together.

    Returns:
        Rows [R, N, K]; row N stands for "no run".
    """
    rows = np.full((resamples, *valid.shape), len(valid), dtype=np.intp)
    for k, networks in enumerate(_networks(valid, seeds_per_network)):
        if len(networks):
            drawn = rng.choice(networks, size=(resamples, len(networks)))
            drawn_rows = drawn[..., None] * seeds_per_network + np.arange(seeds_per_network)
            rows[:, : drawn_rows[0].size, k] = drawn_rows.reshape(resamples, -1)
    return rows


def _networks(valid: NDArray[np.bool_], seeds_per_network: int) -> list[NDArray[np.intp]]:
    """Indices of the networks of each stratum that have a run."""
    if len(valid) % seeds_per_network:
        raise ValueError(f"{len(valid)} rows cannot hold whole networks of {seeds_per_network} seeds")
    return [np.unique(np.flatnonzero(column) // seeds_per_network) for column in valid.T]


def bootstrap_interval(
    scores: ArrayLike,
    statistic: Statistic,
    rng: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seeds_per_network: int = 1,
) -> Interval:
    """Percentile interval of any statistic under the stratified bootstrap.

    Args:
        scores: [N, K], NaN where there is no run.
        statistic: Maps [R, N, K] to [R, ...]; applied to the scores themselves with R = 1.
        rng: Source of randomness.
        resamples: R.
        level: Coverage of the interval.
        seeds_per_network: See `resample_runs`.

    Returns:
        The statistic and its bounds, each [...]. The bounds are NaN when no stratum has two networks.
    """
    return _interval((np.asarray(scores, dtype=float),), statistic, rng, resamples, level, seeds_per_network)


def paired_interval(
    first: ArrayLike,
    second: ArrayLike,
    comparison: Callable[[FloatArray, FloatArray], Any],
    rng: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seeds_per_network: int = 1,
) -> Interval:
    """Interval of a comparison of two policies that saw the same networks.

    Both are resampled jointly: a network that is drawn is drawn for both. What a hard network does to both then
    cancels, as in a paired test, which is why this interval is narrower than two separate ones suggest. Runs that
    either lacks are left out.

    Args:
        first: [N, K]; row n of a stratum is the same run in both.
        second: [N, K].
        comparison: Maps two arrays [R, N, K] to [R, ...]; `difference`, `ratio`, `probability_of_improvement`.
        rng: Source of randomness.
        resamples: R.
        level: Coverage of the interval.
        seeds_per_network: See `resample_runs`.
    """
    arrays = (np.asarray(first, dtype=float), np.asarray(second, dtype=float))
    return _interval(arrays, comparison, rng, resamples, level, seeds_per_network)


def _interval(
    arrays: tuple[FloatArray, ...],
    function: Callable[..., Any],
    rng: np.random.Generator,
    resamples: int,
    level: float,
    seeds_per_network: int,
) -> Interval:
    """Resample all arrays [N, K] with the same rows; a resample without a value makes the bounds NaN."""
    valid = ~np.any([np.isnan(a) for a in arrays], axis=0)
    arrays = tuple(np.where(valid, a, np.nan) for a in arrays)
    value = function(*(a[None] for a in arrays))[0]
    if all(len(networks) < 2 for networks in _networks(valid, seeds_per_network)):
        nothing = np.full(np.shape(value), np.nan)[()]
        return Interval(value, nothing, nothing)
    rows = resample_runs(valid, rng, resamples, seeds_per_network)
    columns = np.arange(valid.shape[1])
    padded = (np.concatenate([a, np.full((1, a.shape[1]), np.nan)]) for a in arrays)
    draws = function(*(a[rows, columns] for a in padded))
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(value, low, high)
