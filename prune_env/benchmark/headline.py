"""What a competition comes to, in sentences and table cells, made by rule from the numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from prune_env.benchmark.statistics import SPARSITY_TOLERANCE, Competition, Interval, Standing, interquartile_mean

PRIVILEGED_MARK = "\N{DAGGER}"


def headline(competition: Competition) -> list[str]:
    """Sentences that say who won and by how much, and where a baseline wins; made by rule from the numbers."""
    agent, plain, privileged = (competition.best(kind) for kind in ("agent", "plain", "privileged"))
    if agent is None:
        found = [f"{s.label} ({s.kind}) with {interval_text(s.area)}" for s in (plain, privileged) if s]
        if not found:
            return ["No policy that prunes to its budgets has completed a run: there is nothing to compare."]
        return [f"No learned agent is ranked. Largest area under the retained-score curve: {'; '.join(found)}."]
    area = f"{agent.label} has an area under the retained-score curve of {interval_text(agent.area)}"
    if plain is None or competition.advantage is None or competition.lead is None:
        return [f"{area}; no plain heuristic is ranked.", *_baselines_ahead(competition, agent)]
    return [
        f"{area}, {_comparison(competition.advantage, competition.lead)} the best plain heuristic, "
        f"{plain.label} ({interval_text(plain.area)}): {_verdict(competition.lead)}.",
        *_baselines_ahead(competition, agent),
    ]


def _comparison(advantage: Interval, lead: Interval) -> str:
    # A ratio to something that is not positive, or may not be, says nothing; then the difference does.
    if math.isfinite(advantage.low) or (math.isfinite(advantage.value) and not math.isfinite(lead.low)):
        return f"{interval_text(advantage, '.2f')} times that of"
    return f"a difference of {interval_text(lead, '+.3f')} from"


def _verdict(lead: Interval) -> str:
    if not math.isfinite(lead.low):
        return "too few networks for an interval"
    if lead.low > 0:
        return "the agent wins"
    return "the heuristic wins" if lead.high < 0 else "a draw within the interval"


def _baselines_ahead(competition: Competition, agent: Standing) -> list[str]:
    """Whether a privileged policy is above the best agent, and at which budgets and strata which baseline is."""
    others = [s for s in competition.standings if s.kind != "agent" and s.ranked]
    sentences = []
    privileged = competition.best("privileged")
    if privileged is not None and privileged.area.value > agent.area.value:
        cost = f", with {number(privileged.evaluations)} evaluations per cut" if privileged.evaluations else ""
        sentences.append(f"The privileged {privileged.label} has more: {interval_text(privileged.area)}{cost}.")
    places: list[tuple[str, Callable[[Standing], float]]] = [
        (f"sparsity {100 * budget:g}%", partial(_retained_at, b=b))
        for b, budget in enumerate(competition.scores.budgets)
    ]
    if len(competition.scores.strata) > 1:
        places += [(name, partial(_area_in, competition, k=k)) for k, name in enumerate(competition.scores.strata)]
    ahead: dict[str, list[str]] = {}
    for place, value in places:
        better = [s for s in others if value(s) > value(agent)]
        if better:
            best = max(better, key=value)
            who = f"{best.label} ({best.kind})"
            ahead.setdefault(who, []).append(f"{place} ({value(best):.3f} against {value(agent):.3f})")
    sentences += [f"{who} is ahead of it at {', '.join(found)}." for who, found in ahead.items()]
    if others and not ahead:
        sentences.append("No baseline is ahead at any single sparsity or kind of network.")
    return sentences


def _retained_at(standing: Standing, b: int) -> float:
    return float(standing.retained.value[b])


def _area_in(competition: Competition, standing: Standing, k: int) -> float:
    return float(interquartile_mean(competition.area_of(standing.policy)[:, k : k + 1]))


def table_rows(competition: Competition) -> tuple[list[str], list[list[str]]]:
    """The table: its headers, and one row of cells for each policy, best first."""
    agent = competition.best("agent")
    budgets = [f"{100 * budget:g}%" for budget in competition.scores.budgets]
    headers = ["policy", "kind", "area [95 %]", *budgets, "hypervolume", "collapsed", "evaluations", "runs"]
    if agent:
        headers.append("P(agent better)")
    rows = []
    for s in competition.standings:
        name = f"{s.label} {PRIVILEGED_MARK}" if s.kind == "privileged" else s.label
        row = [name if s.on_budget else f"{name} (off budget)", s.kind, interval_text(s.area)]
        row += [number(value, "z.2f") for value in s.retained.value]
        row += [number(s.hypervolume, ".3f"), number(s.collapsed, ".0%"), number(s.evaluations)]
        row.append(f"{s.complete}" if s.complete == s.expected else f"{s.complete} of {s.expected}")
        if agent:
            row.append(interval_text(s.improvement, ".2f") if s.improvement else "")
        rows.append(row)
    return headers, rows


def number(value: float, style: str = ".4g") -> str:
    """A number in a table cell; a dash if there is none."""
    return format(value, style) if math.isfinite(value) else "\N{EN DASH}"


def interval_text(interval: Interval, style: str = ".3f") -> str:
    """A value with its interval in brackets, as far as there is one."""
    value, low, high = (float(v) for v in interval)
    bounds = f" [{low:{style}}, {high:{style}}]" if math.isfinite(low) and math.isfinite(high) else ""
    return number(value, style) + bounds


def notes(competition: Competition) -> list[str]:
    """What a reader must know beside the table: what is incomplete, failed, off budget or left out."""
    notes = [
        f"{s.label}: {s.expected - s.complete} of {s.expected} runs are incomplete and left out."
        for s in competition.standings
        if s.complete < s.expected
    ]
    if competition.records.failures:
        notes.append(f"Failed cuts: {len(competition.records.failures)}; a resumed run tries them again.")
    if any(s.kind == "privileged" for s in competition.standings):
        notes.append(
            f"{PRIVILEGED_MARK} privileged: it sees the network or scores trial cuts, not the observation only."
        )
    off = [s.label for s in competition.standings if not s.on_budget]
    if off:
        notes.append(
            f"Not ranked, since they stay more than {SPARSITY_TOLERANCE:.0%} below a budget: {', '.join(off)}."
        )
    if competition.left_out:
        notes.append(
            f"Records of other configurations or dense networks in the same file, left out: {competition.left_out}."
        )
    return notes
