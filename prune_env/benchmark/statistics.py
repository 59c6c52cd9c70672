"""The statistics of a competition, each a function of score matrices laid out as runs x tasks.

A task is a stratum (a kind of network), a run is one network under one evaluation seed. Strata may have different
numbers of runs: NaN fills a matrix up and is left out everywhere. A *statistic* maps [..., N, K] to [...].

Intervals are percentile intervals of a stratified bootstrap (Agarwal et al. 2021, arXiv 2108.13264, §4.1): within each
stratum, networks are drawn with replacement, each with all of its seeds, since two seeds on one network are not two
independent runs. With one seed per network that is the paper's bootstrap over runs.

Letters: P policies, B budgets, N runs of the largest stratum, K strata, R resamples, T thresholds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import trapezoid

from prune_env.benchmark.records import Kind, Records, Scores

FloatArray = NDArray[np.float64]
Statistic = Callable[[FloatArray], Any]

RESAMPLES = 2000
SPARSITY_TOLERANCE = 0.03
"""How far below its budget a policy may stay, on average, and still be ranked [share of the cost]."""


class Interval(NamedTuple):
    """An estimate and its bounds; the bounds are NaN where there was nothing to resample."""

    value: Any
    low: Any
    high: Any


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


def difference(first: FloatArray, second: FloatArray) -> FloatArray:
    """Difference of interquartile means, [..., N, K] twice -> [...]."""
    return interquartile_mean(first) - interquartile_mean(second)


def ratio(first: FloatArray, second: FloatArray) -> FloatArray:
    """Ratio of interquartile means, [..., N, K] twice -> [...]; NaN where the second is not positive."""
    above, below = interquartile_mean(first), interquartile_mean(second)
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)


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


def _mean(values: FloatArray, axis: int | tuple[int, ...]) -> FloatArray:
    """Mean without the NaN entries; NaN (and no warning) where nothing else is left."""
    count = (~np.isnan(values)).sum(axis=axis)
    total = np.nansum(values, axis=axis)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


@dataclass(frozen=True)
class Standing:
    """How one policy did, on test data.

    Attributes:
        policy: Its name in the records.
        label: A short name.
        kind: "agent", "plain" or "privileged".
        on_budget: Whether it removed what the budgets asked for; who does not is shown but not ranked.
        area: Interquartile mean of the area under the retained-score curve of a run.
        retained: Interquartile mean of the retained score at each budget, [B].
        hypervolume: Interquartile mean of a run's hypervolume.
        collapsed: Share of results that collapsed.
        evaluations: Mean number of pruned networks scored before answering, per network and budget.
        improvement: Probability that the best agent's run has the larger area; None for itself and without an agent.
        complete: Runs with a result at every budget; only these count.
        expected: Runs of the competition.
    """

    policy: str
    label: str
    kind: Kind
    on_budget: bool
    area: Interval
    retained: Interval
    hypervolume: float
    collapsed: float
    evaluations: float
    improvement: Interval | None
    complete: int
    expected: int

    @property
    def ranked(self) -> bool:
        """Whether it can win: it has complete runs, and they reach the budgets."""
        return self.on_budget and self.complete > 0


@dataclass(frozen=True)
class Competition:
    """All standings of one configuration.

    Attributes:
        records: The records behind them.
        left_out: Number of records of other configurations.
        standings: Ranked policies by area, best first; then those that are not ranked.
        scores: The retained scores on test data.
        areas: Area under the curve of every complete run, [P, N, K].
        advantage: Ratio of the best agent's area to the best plain heuristic's, on the same runs; its bounds are NaN
            where the latter is not positive in some resample. None if there are not both.
        lead: Their difference.
    """

    records: Records
    left_out: int
    standings: tuple[Standing, ...]
    scores: Scores
    areas: FloatArray
    advantage: Interval | None
    lead: Interval | None

    def best(self, *kinds: Kind) -> Standing | None:
        """The ranked policy of these kinds with the largest area; the best of several is chosen on these very runs."""
        return next((s for s in self.standings if s.kind in kinds and s.ranked), None)

    def area_of(self, policy: str) -> FloatArray:
        """Area under the curve of one policy's complete runs, [N, K]."""
        return self.areas[self.scores.policies.index(policy)]


def summarise(records: Records, seed: int = 0) -> Competition:
    """Standings of all policies, of the latest configuration among the records.

    Args:
        records: At least one record.
        seed: Every interval starts a generator from it, so that it does not depend on who else competes.
    """
    records, left_out = records.latest_configuration()
    scores = records.scores("retained_test")
    areas = area_under_curve(scores.completed(), scores.budgets, axis=1)
    numbers = {name: records.scores(name).values for name in ("sparsity", "sparsity_macs", "collapsed", "evaluations")}
    standings = [_standing(records, scores, numbers, areas, p, seed) for p in range(len(scores.policies))]
    standings.sort(key=lambda s: (not s.ranked, -s.area.value if s.complete else np.inf))
    competition = Competition(records, left_out, tuple(standings), scores, areas, None, None)
    agent, plain = competition.best("agent"), competition.best("plain")
    if agent is None:
        return competition

    def against(policy: str, comparison: Callable[[FloatArray, FloatArray], Any]) -> Interval:
        first, second = competition.area_of(agent.policy), competition.area_of(policy)
        rng = np.random.default_rng(seed)
        return paired_interval(first, second, comparison, rng, seeds_per_network=scores.seeds_per_network)

    others = (
        s if s is agent else replace(s, improvement=against(s.policy, probability_of_improvement)) for s in standings
    )
    return replace(
        competition,
        standings=tuple(others),
        advantage=against(plain.policy, ratio) if plain else None,
        lead=against(plain.policy, difference) if plain else None,
    )


def _standing(
    records: Records, scores: Scores, numbers: dict[str, FloatArray], areas: FloatArray, p: int, seed: int
) -> Standing:
    """The standing of policy p.

    Args:
        records: All records.
        scores: The retained scores.
        numbers: Field name -> its values, [P, B, N, K].
        areas: [P, N, K].
        p: The policy.
        seed: For the intervals.
    """
    policy, values, areas = scores.policies[p], scores.completed()[p], areas[p]
    complete = ~np.isnan(areas)

    def of(name: str) -> FloatArray:
        return np.where(complete, numbers[name][p], np.nan)  # [B, N, K]

    def interval(matrix: FloatArray) -> Interval:
        rng = np.random.default_rng(seed)
        return bootstrap_interval(matrix, interquartile_mean, rng, seeds_per_network=scores.seeds_per_network)

    sparsity, collapsed = of("sparsity"), of("collapsed")
    removed = np.where(collapsed == 0, np.maximum(sparsity, of("sparsity_macs")), np.nan)  # a collapse ends early
    short = np.asarray(scores.budgets) - run_mean(removed)
    return Standing(
        policy=policy,
        label=records.labels()[policy],
        kind=records.kinds[policy],
        on_budget=not (short > SPARSITY_TOLERANCE).any(),
        area=interval(areas),
        retained=Interval(*np.transpose([interval(v) for v in values])),
        hypervolume=float(interquartile_mean(hypervolume(sparsity, values, axis=0))),
        collapsed=float(run_mean(collapsed).mean()),
        evaluations=float(run_mean(of("evaluations")).mean()),
        improvement=None,
        complete=int(complete.sum()),
        expected=sum(len(seeds) for networks in records.networks().values() for seeds in networks.values()),
    )
