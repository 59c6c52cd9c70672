"""The leaderboard of a benchmark: how every policy did, in order, and how far the best agent is from it.

Letters: S seeds of an agent's training, B budgets, N networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from prune_env.benchmark.intervals import Interval, difference_interval, mean_interval
from prune_env.benchmark.records import Records, Scores
from prune_env.benchmark.result import Kind
from prune_env.benchmark.statistics import FloatArray, area_under_curve, hypervolume, share_better, useful_area
from prune_env.envs.costs import sparsity_name

SPARSITY_TOLERANCE = 0.03
"""How far below its budget a policy may stay, on average, and still be ranked [share of the cost]."""


@dataclass(frozen=True)
class Standing:
    """How one policy did, on test data; means are over networks and over the seeds of its training.

    Attributes:
        policy: Its name; that of an agent with several seeds ends in their number.
        kind: "agent", "plain" or "privileged".
        on_budget: Whether it removed what the budgets asked for; who does not is shown but not ranked.
        area: Mean area under the curve of max(R, 0), by which policies are ranked.
        unclipped_area: Mean area under the curve of R itself.
        retained: Mean retained score at each budget, [B].
        hypervolume: Mean hypervolume.
        collapsed: Share of results that collapsed.
        trial_cuts: Mean number of pruned networks scored before answering, per network and budget.
        trial_steps: Mean number of training steps in them.
        sparsities: Name of a cost -> mean share of it that was removed, at each budget, [B].
        lead: By how much the area of the best agent is larger, paired over networks; None for itself and without one.
        agent_better: Share of networks on which it is larger.
        complete: Networks with a result at every budget, of all seeds; only these count.
        expected: Networks that there are, failed ones included.
    """

    policy: str
    kind: Kind
    on_budget: bool
    area: Interval
    unclipped_area: float
    retained: Interval
    hypervolume: float
    collapsed: float
    trial_cuts: float
    trial_steps: float
    sparsities: Mapping[str, FloatArray]
    lead: Interval | None
    agent_better: float | None
    complete: int
    expected: int

    @property
    def ranked(self) -> bool:
        """Whether it can win: more than half of its networks are complete, and they reach the budgets."""
        return self.on_budget and 2 * self.complete > self.expected


@dataclass(frozen=True)
class Leaderboard:
    """The standings of all policies, of one configuration.

    Attributes:
        records: The records behind them.
        left_out: Number of records of other configurations.
        standings: Ranked policies by area, best first; then those that are not ranked.
        scores: The retained scores on test data.
    """

    records: Records
    left_out: int
    standings: tuple[Standing, ...]
    scores: Scores

    def best(self, *kinds: Kind) -> Standing | None:
        """The ranked policy of these kinds with the largest area; the best of several is chosen on these very runs."""
        return next((s for s in self.standings if s.kind in kinds and s.ranked), None)

    def area_of(self, policy: str) -> FloatArray:
        """Area under the curve of max(R, 0) of one policy, [S, N]; NaN for networks that are not complete."""
        areas = useful_area(self.scores.of(policy), self.scores.budgets, axis=1)
        return np.where(self.scores.complete(policy), areas, np.nan)

    def lead_over(self, agent: str, other: str) -> tuple[Interval, float]:
        """Difference of the areas on networks that both completed, and share of these on which the first has more."""
        both = self.scores.complete(agent) & self.scores.complete(other)
        first, second = (self.area_of(policy)[:, both] for policy in (agent, other))
        return difference_interval(first, second), share_better(first, second)


def rank_policies(records: Records) -> Leaderboard:
    """Rank all policies, by the latest configuration among the records.

    Args:
        records: At least one record.
    """
    records, left_out = records.latest_configuration()
    scores = records.scores("retained_test")
    names = ["budget_sparsity", "collapsed", "trial_cuts", "trial_steps", *map(sparsity_name, records.costs)]
    numbers = {name: records.scores(name) for name in names}
    standings = [_standing(records, scores, numbers, policy) for policy in scores.policies]
    standings.sort(key=lambda s: (not s.ranked, -s.area.value if s.complete else np.inf))
    board = Leaderboard(records, left_out, tuple(standings), scores)
    agent = board.best("agent")
    if agent is None:
        return board
    compared = []
    for s in standings:
        lead, better = (None, None) if s is agent or not s.complete else board.lead_over(agent.policy, s.policy)
        compared.append(replace(s, lead=lead, agent_better=better))
    return replace(board, standings=tuple(compared))


def _standing(records: Records, scores: Scores, numbers: Mapping[str, Scores], policy: str) -> Standing:
    complete = scores.complete(policy)
    retained = scores.of(policy)[:, :, complete]  # [S, B, N]
    sizes = {name: found.of(policy)[:, :, complete] for name, found in numbers.items()}

    def mean(name: str) -> FloatArray:
        """Mean at each budget, [B]."""
        return _mean(sizes[name], axis=(0, 2))

    sparsity = sizes["budget_sparsity"]
    removed = np.where(sizes["collapsed"] == 0, sparsity, np.nan)  # an episode that collapsed ended early
    short = np.asarray(scores.budgets) - _mean(removed, axis=(0, 2))
    return Standing(
        policy=policy,
        kind=records.kinds[policy],
        on_budget=not (short > SPARSITY_TOLERANCE).any(),
        area=mean_interval(useful_area(retained, scores.budgets, axis=1)),
        unclipped_area=float(_mean(area_under_curve(retained, scores.budgets, axis=1), axis=(0, 1))),
        retained=mean_interval(retained.swapaxes(0, 1)),
        hypervolume=float(_mean(hypervolume(sparsity, retained, axis=1), axis=(0, 1))),
        collapsed=float(np.mean(mean("collapsed"))),
        trial_cuts=float(np.mean(mean("trial_cuts"))),
        trial_steps=float(np.mean(mean("trial_steps"))),
        sparsities={cost: mean(sparsity_name(cost)) for cost in records.costs},
        lead=None,
        agent_better=None,
        complete=int(complete.sum()),
        expected=len(scores.networks),
    )


def _mean(values: FloatArray, axis: int | tuple[int, ...]) -> FloatArray:
    """Mean without the NaN entries; NaN (and no warning) where nothing else is left."""
    count = (~np.isnan(values)).sum(axis=axis)
    total = np.nansum(values, axis=axis)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)
