"""What a leaderboard says, in sentences, made by rule from the numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from prune_env.benchmark.intervals import LEAST_NETWORKS, Interval
from prune_env.benchmark.leaderboard import SPARSITY_TOLERANCE, Leaderboard, Standing
from prune_env.benchmark.table import PRIVILEGED_MARK, interval_text, number


def headline(board: Leaderboard) -> list[str]:
    """Sentences that say which policy is best and by how much, and where a baseline is ahead."""
    agent, plain, privileged = (board.best(kind) for kind in ("agent", "plain", "privileged"))
    if agent is None:
        found = [f"{s.policy} ({s.kind}) with {interval_text(s.area)}" for s in (plain, privileged) if s]
        if not found:
            return ["No policy that prunes to its budgets has completed a network: there is nothing to compare."]
        return [f"No learned agent is ranked. Largest area under the curve of max(R, 0): {'; '.join(found)}."]
    area = f"{agent.policy} has an area under the curve of max(R, 0) of {interval_text(agent.area)}"
    if plain is None or plain.lead is None:
        return [f"{area}; no plain heuristic is ranked.", *_baselines_ahead(board, agent)]
    return [
        f"{area}, a paired difference of {interval_text(plain.lead, '+.3f')} from the best plain heuristic, "
        f"{plain.policy} ({interval_text(plain.area)}): {_verdict(plain.lead)}.",
        *_baselines_ahead(board, agent),
    ]


def _verdict(lead: Interval) -> str:
    if not math.isfinite(lead.low):
        return "too few networks for an interval"
    if lead.low > 0:
        return "the agent wins"
    return "the heuristic wins" if lead.high < 0 else "a draw within the interval"


def _baselines_ahead(board: Leaderboard, agent: Standing) -> list[str]:
    """Whether a privileged policy is above the best agent, and at which budgets and strata which baseline is."""
    others = [s for s in board.standings if s.kind != "agent" and s.ranked]
    sentences = []
    privileged = board.best("privileged")
    if privileged is not None and privileged.area.value > agent.area.value:
        cost = f", with {number(privileged.trial_cuts)} trial cuts for each answer" if privileged.trial_cuts else ""
        lead = f" (the agent's lead is {interval_text(privileged.lead, '+.3f')})" if privileged.lead else ""
        sentences.append(f"The privileged {privileged.policy} has more: {interval_text(privileged.area)}{lead}{cost}.")
    places: list[tuple[str, Callable[[Standing], float]]] = [
        (f"sparsity {100 * budget:g}%", partial(_retained_at, b=b)) for b, budget in enumerate(board.scores.budgets)
    ]
    strata = list(dict.fromkeys(board.scores.strata))
    if len(strata) > 1:
        places += [(name, partial(_area_in, board, stratum=name)) for name in strata]
    ahead: dict[str, list[str]] = {}
    for place, value in places:
        better = [s for s in others if value(s) > value(agent)]
        if better:
            best = max(better, key=value)
            who = f"{best.policy} ({best.kind})"
            ahead.setdefault(who, []).append(f"{place} ({value(best):.3f} against {value(agent):.3f})")
    sentences += [f"{who} is ahead of it at {', '.join(found)}." for who, found in ahead.items()]
    if others and not ahead:
        sentences.append("No baseline is ahead at any single sparsity or kind of network.")
    return sentences


def _retained_at(standing: Standing, b: int) -> float:
    return float(standing.retained.value[b])


def _area_in(board: Leaderboard, standing: Standing, stratum: str) -> float:
    """Mean area on the complete networks of a kind; NaN, which is ahead of nothing, if there are none."""
    chosen = board.scores.complete(standing.policy) & (np.array(board.scores.strata) == stratum)
    areas = board.area_of(standing.policy)[:, chosen]
    return float(areas.mean()) if areas.size else math.nan


def notes(board: Leaderboard) -> list[str]:
    """What a reader must know beside the table: what is incomplete, failed, off budget, merged or left out."""
    notes = [
        f"{s.policy}: {s.expected - s.complete} of {s.expected} networks are incomplete and left out."
        for s in board.standings
        if s.complete < s.expected
    ]
    if any(s.complete < LEAST_NETWORKS for s in board.standings if s.ranked):
        notes.append(
            f"With fewer than {LEAST_NETWORKS} networks there are no intervals: none covers the true mean as often as "
            "it says."
        )
    if board.records.failures:
        notes.append(f"Failed cuts: {len(board.records.failures)}; a resumed run tries them again.")
    if any(s.kind == "privileged" for s in board.standings):
        notes.append(
            f"{PRIVILEGED_MARK} privileged: it sees the network or scores trial cuts, not the observation only."
        )
    several = [s.policy for s in board.standings if len(board.records.members(s.policy)) > 1]
    if several:
        notes.append(
            f"Several training seeds are one policy: {', '.join(several)}. Its intervals cover networks and seeds, and "
            "a network counts once all seeds have a result on it."
        )
    single = [s.policy for s in board.standings if s.kind == "agent" and s.policy not in several]
    if single:
        notes.append(f"Trained with one seed, so that intervals are those of this very agent: {', '.join(single)}.")
    few = [s.policy for s in board.standings if 0 < 2 * s.complete <= s.expected]
    if few:
        notes.append(f"Not ranked, since no more than half of their networks are complete: {', '.join(few)}.")
    off = [s.policy for s in board.standings if not s.on_budget]
    if off:
        notes.append(
            f"Not ranked, since they stay more than {SPARSITY_TOLERANCE:.0%} below a budget: {', '.join(off)}."
        )
    if board.left_out:
        notes.append(f"Records of other configurations or dense networks in the same file, left out: {board.left_out}.")
    return notes
