"""The verdicts of §5 of arXiv 2601.19794 on its three hypotheses, beside the statistics of the study "hypotheses"."""

from __future__ import annotations

from prune_env.studies.core import (
    CHANCE,
    Claim,
    Interval,
    Rows,
    Verdict,
    above,
    all_of,
    below,
    format_interval,
    over_seeds,
)
from prune_env.studies.importance_shift.autoencoder_sentences import CONSTRAINED
from prune_env.studies.importance_shift.rank_shift import shifting_claim, static_claim
from prune_env.studies.importance_shift.trajectory import LABELS

FIRST = 1.5
"""A mean rank below this is nearer to the first place than to the second."""
NAMES = {"autoencoder": "autoencoder", "tdmpc": "TD-MPC"}


def values_of(rows: Rows, statistic: str, measure: str, target: str, setting: str) -> list[float]:
    """A statistic of one network and measure, of every seed [N]."""
    return [
        float(r["value"])
        for r in rows
        if (r["statistic"], r["measure"], r["target"], r["setting"]) == (statistic, measure, target, setting)
    ]


def _sizes(rows: Rows, target: str) -> list[str]:
    return list(dict.fromkeys(str(r["setting"]) for r in rows if r["target"] == target))


def _strata(rows: Rows, statistic: str, measure: str, target: str) -> list[list[float]]:
    return [values_of(rows, statistic, measure, target, setting) for setting in _sizes(rows, target)]


def coupling_claim(rows: Rows, target: str, measure: str) -> Claim:
    """What the paper finds of H1, coupling groups matter most."""
    found = {s: over_seeds(values_of(rows, "rank", measure, target, s)) for s in _sizes(rows, target)}
    intervals = list(found.values())
    if target == "autoencoder":
        says = "(§5.1) H1 is conditional: true of latents 8 and 64, not of 512"
        parts = [*(below(i, FIRST) for i in intervals[:CONSTRAINED]), above(intervals[-1], FIRST)]
        rule = f"agrees if the 95 % interval lies below {FIRST} (nearer to the first place than to the second) at the "
        rule += "two smallest sizes and above at the largest; disagrees if one of them lies on the other side"
    else:
        says = "(§5.2) H1 is contradicted: the coupling groups are not the most important"
        parts = [above(interval, FIRST) for interval in intervals]
        rule = f"agrees if the 95 % interval lies above {FIRST} for every network (the coupling group is nearer to the "
        rule += "second place than to the first, or behind it), disagrees if below for one"
    return Claim(
        paper=f"{says} ({NAMES[target]}, {LABELS[measure]}).",
        measured="mean rank of the coupling group: "
        + "; ".join(f"{s}: {format_interval(i)}" for s, i in found.items()),
        verdict=all_of(parts),
        rule=rule,
    )


def early_claim(rows: Rows, target: str, measure: str) -> Claim:
    """What the paper finds of H2, early groups matter most."""
    return _refuted(rows, target, measure) if target == "autoencoder" else _partly_supported(rows, target, measure)


def _refuted(rows: Rows, target: str, measure: str) -> Claim:
    found = {s: over_seeds(values_of(rows, "position", measure, target, s)) for s in _sizes(rows, target)}
    chances = {s: values_of(rows, "position p", measure, target, s)[0] for s in found}
    return Claim(
        paper=f"(§5.1) H2 is strongly refuted: early groups are not the most important ({NAMES[target]}, "
        f"{LABELS[measure]}).",
        measured="Spearman's correlation with position: "
        + "; ".join(f"{s}: {format_interval(i)}, p = {chances[s]:.2g}" for s, i in found.items()),
        verdict=all_of([_beyond_chance(interval, chances[s]) for s, interval in found.items()]),
        rule=f"agrees if for every size the 95 % interval lies above 0 and p is below {CHANCE}, disagrees if for one "
        "it lies below 0 and p is as small",
    )


def _beyond_chance(interval: Interval, p: float) -> Verdict:
    return above(interval) if p < CHANCE else "cannot be decided"


def _partly_supported(rows: Rows, target: str, measure: str) -> Claim:
    leads, rises = (
        {s: over_seeds(values) for s in _sizes(rows, target) if (values := values_of(rows, name, measure, target, s))}
        for name in ("encoder lead", "encoder rise")
    )
    within = "; ".join(f"{s}: {format_interval(i)}" for s, i in rises.items()) or "no network has three encoder groups"
    return Claim(
        paper=f"(§5.2) H2 is partly supported: the encoder is the most important component, but within it the later "
        f"group is above the earlier one ({NAMES[target]}, {LABELS[measure]}).",
        measured="lead of the encoder, in logarithms: "
        + "; ".join(f"{s}: {format_interval(i)}" for s, i in leads.items())
        + f"; rise within it: {within}",
        verdict=all_of([above(i) for i in (*leads.values(), *rises.values())]) if rises else "cannot be decided",
        rule="agrees if every 95 % interval of the lead and of the rise lies above 0, disagrees if one lies below",
    )


def static_importance_claim(rows: Rows, target: str, measure: str) -> Claim:
    """What the paper finds of H3, importance is static."""
    found = {
        name: _strata(rows, name, measure, target)
        for name in ("tau", "neighbouring tau", "early crossovers", "later crossovers")
    }
    if target == "tdmpc":
        says = f"(§5.2) H3 does not hold: importance is not strictly static ({NAMES[target]}, {LABELS[measure]})."
        return shifting_claim(says, found)
    small = static_claim("", {name: strata[:CONSTRAINED] for name, strata in found.items()})
    large = shifting_claim("", {name: strata[-1:] for name, strata in found.items()})
    return Claim(
        paper="(§5.1) H3 appears valid for highly constrained models (latents 8 and 64), and does not hold for higher "
        f"capacity (512) ({NAMES[target]}, {LABELS[measure]}).",
        measured=f"two smallest sizes: {small.measured}. Largest: {large.measured}",
        verdict=all_of([small.verdict, large.verdict]),
        rule=f"two smallest sizes: {small.rule}. Largest: {large.rule}. Both must agree",
    )
