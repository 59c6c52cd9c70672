"""The leaderboard of a benchmark: how every policy did, in order, and how the best agent compares with the others.

Letters: P policies, B budgets, N runs of the largest stratum, K strata.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prune_env.benchmark.bootstrap import Interval, bootstrap_interval, paired_interval
from prune_env.benchmark.records import Records, Scores
from prune_env.benchmark.result import Kind
from prune_env.benchmark.statistics import (
    FloatArray,
    area_under_curve,
    difference,
    hypervolume,
    interquartile_mean,
    probability_of_improvement,
    ratio,
    run_mean,
)
from prune_env.envs.costs import sparsity_name

SPARSITY_TOLERANCE = 0.03
"""How far below its budget a policy may stay, on average, and still be ranked [share of the cost]."""


@dataclass(frozen=True)
class Standing:
    """How one policy did, on test data.

    Attributes:
        policy: Its name; that of an agent with several seeds ends in their number.
        kind: "agent", "plain" or "privileged".
        on_budget: Whether it removed what the budgets asked for; who does not is shown but not ranked.
        area: Interquartile mean of the area under the retained-score curve of a run.
        retained: Interquartile mean of the retained score at each budget, [B].
        hypervolume: Interquartile mean of a run's hypervolume.
        collapsed: Share of results that collapsed.
        trial_cuts: Mean number of pruned networks scored before answering, per network and budget.
        sparsities: Name of a cost -> mean share of it that was removed, at each budget, [B].
        improvement: Probability that the best agent's run has the larger area; None for itself and without an agent.
        complete: Runs with a result at every budget; only these count.
        expected: Runs that there are, failed ones included.
    """

    policy: str
    kind: Kind
    on_budget: bool
    area: Interval
    retained: Interval
    hypervolume: float
    collapsed: float
    trial_cuts: float
    sparsities: Mapping[str, FloatArray]
    improvement: Interval | None
    complete: int
    expected: int

    @property
    def ranked(self) -> bool:
        """Whether it can win: it has complete runs, and they reach the budgets."""
        return self.on_budget and self.complete > 0


@dataclass(frozen=True)
class Leaderboard:
    """The standings of all policies, of one configuration.

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


def rank_policies(records: Records, seed: int = 0) -> Leaderboard:
    """Rank all policies, by the latest configuration among the records.

    Args:
        records: At least one record.
        seed: Every interval starts a generator from it, so that it does not depend on who else competes.
    """
    records, left_out = records.latest_configuration()
    scores = records.scores("retained_test")
    areas = area_under_curve(scores.completed(), scores.budgets, axis=1)
    names = ["budget_sparsity", "collapsed", "trial_cuts", *map(sparsity_name, records.costs)]
    numbers = {name: records.scores(name).values for name in names}
    standings = [_standing(records, scores, numbers, areas, p, seed) for p in range(len(scores.policies))]
    standings.sort(key=lambda s: (not s.ranked, -s.area.value if s.complete else np.inf))
    board = Leaderboard(records, left_out, tuple(standings), scores, areas, None, None)
    agent, plain = board.best("agent"), board.best("plain")
    if agent is None:
        return board

    def against(policy: str, comparison: Callable[[FloatArray, FloatArray], Any]) -> Interval:
        first, second = board.area_of(agent.policy), board.area_of(policy)
        rng = np.random.default_rng(seed)
        return paired_interval(first, second, comparison, rng, seeds_per_network=scores.seeds_per_network)

    others = (
        s if s is agent else replace(s, improvement=against(s.policy, probability_of_improvement)) for s in standings
    )
    return replace(
        board,
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
        numbers: Name of a number -> its values, [P, B, N, K].
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

    sparsity, collapsed = of("budget_sparsity"), of("collapsed")
    removed = np.where(collapsed == 0, sparsity, np.nan)  # an episode that collapsed ended early
    short = np.asarray(scores.budgets) - run_mean(removed)
    return Standing(
        policy=policy,
        kind=records.kinds[policy],
        on_budget=not (short > SPARSITY_TOLERANCE).any(),
        area=interval(areas),
        retained=Interval(*np.transpose([interval(v) for v in values])),
        hypervolume=float(interquartile_mean(hypervolume(sparsity, values, axis=0))),
        collapsed=float(run_mean(collapsed).mean()),
        trial_cuts=float(run_mean(of("trial_cuts")).mean()),
        sparsities={cost: run_mean(of(sparsity_name(cost))) for cost in records.costs},
        improvement=None,
        complete=int(complete.sum()),
        expected=sum(len(seeds) for networks in records.networks().values() for seeds in networks.values()),
    )
