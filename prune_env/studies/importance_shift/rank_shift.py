"""Whether importance is static (H3 of arXiv 2601.19794) or shifts, as the paper reports: how orders change.

Letters: E epochs, G groups, K settings of a network, N seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from prune_env.studies.core.intervals import above, all_of, below, format_interval, over_settings
from prune_env.studies.core.study import Claim
from prune_env.studies.importance_shift.orders import Followed
from prune_env.studies.importance_shift.ranks import EARLY, HOLD, Array, crossovers, early, tau

STATIC = 0.9
"""A tau above this leaves fewer than one pair of groups in twenty in another order."""
WINDOW = 20
"""Importance "at" a time is the mean over this fraction of the epochs."""
_Q_NETWORKS = ("q1.", "q2.")

Strata = Sequence[Sequence[float]]


def shift_statistics(groups: Sequence[str], values: Array) -> dict[str, float]:
    """How the order of the groups changes over all epochs.

    Args:
        groups: Names; groups of TD-MPC's two Q-networks count once, since which of the two is ahead is chance.
        values: Importance [E, G].

    Returns:
        "tau" between the first window of epochs and the last; "neighbouring tau", the mean between each window and the
        next, which noise alone would give; "crossovers" per pair of groups and hundred epochs, of all epochs, and
        "early crossovers" and "later crossovers" of the first fifth of them and of the others.
    """
    merged = merge_q_networks(groups, np.log(values))
    width = max(1, len(merged) // WINDOW)
    windows = merged[: len(merged) // width * width].reshape(-1, width, merged.shape[1]).mean(axis=1)
    pairs = merged.shape[1] * (merged.shape[1] - 1) / 2
    when = np.array([epoch for epoch, _, _ in crossovers(merged)])
    start = early(len(merged))
    return {
        "tau": float(tau(windows[0], windows[-1])),
        "neighbouring tau": float(tau(windows[:-1], windows[1:]).mean()),
        "crossovers": len(when) / pairs / len(merged) * 100,
        "early crossovers": float((when < start).sum()) / pairs / max(start, 1) * 100,
        "later crossovers": float((when >= start).sum()) / pairs / (len(merged) - start) * 100,
    }


def shift_strata(networks: Sequence[Followed]) -> dict[str, list[list[float]]]:
    """The values [K] of [N] of each of `shift_statistics`."""
    found = [[shift_statistics(n.groups, np.exp(logs)) for logs in n.logs] for n in networks]
    return {name: [[seed[name] for seed in seeds] for seeds in found] for name in found[0][0]}


def merge_q_networks(groups: Sequence[str], values: Array) -> Array:
    """Values [E, G] with the mean of each pair of groups of the two Q-networks in place of both."""
    columns: dict[str, list[int]] = {}
    for i, name in enumerate(groups):
        twin = next((name.removeprefix(prefix) for prefix in _Q_NETWORKS if name.startswith(prefix)), None)
        columns.setdefault(name if twin is None else f"q.{twin}", []).append(i)
    return np.stack([values[:, found].mean(axis=1) for found in columns.values()], axis=1)


def shifting_claim(statement: str, found: Mapping[str, Strata]) -> Claim:
    """The claim that the order of the groups changes while the network learns.

    Args:
        statement: What the paper says.
        found: The values [K] of [N] of each of `shift_statistics`.
    """
    change, noise = (over_settings(found[name]) for name in ("tau", "neighbouring tau"))
    beyond = over_settings(
        [np.subtract(a, b).tolist() for a, b in zip(found["tau"], found["neighbouring tau"], strict=True)]
    )
    return Claim(
        paper=statement,
        measured=f"Kendall's tau from the beginning to the end: {format_interval(change)}, between neighbouring times "
        f"{format_interval(noise)}; {crossovers_text(found)}",
        verdict=all_of([below(change, STATIC), below(beyond)]),
        rule=f"agrees if the 95 % interval of tau lies below {STATIC} (one pair of groups in twenty has changed its "
        f"order) and that of its difference from the tau of neighbouring times, each a {WINDOW}th of the epochs, below "
        "0; disagrees if either lies above. All epochs count",
    )


def static_claim(statement: str, found: Mapping[str, Strata]) -> Claim:
    """The claim that the order of the groups is the same from the beginning to the end; arguments as above."""
    change = over_settings(found["tau"])
    return Claim(
        paper=statement,
        measured=f"Kendall's tau from the beginning to the end: {format_interval(change)}; {crossovers_text(found)}",
        verdict=above(change, STATIC),
        rule=f"agrees if the 95 % interval of tau between the first {WINDOW}th of the epochs and the last lies above "
        f"{STATIC}, disagrees if below",
    )


def settling_claim(statement: str, found: Mapping[str, Strata]) -> Claim:
    """The claim that the order of the groups changes more often early than later; arguments as above."""
    early_rates, later = found["early crossovers"], found["later crossovers"]
    gone = over_settings([np.subtract(a, b).tolist() for a, b in zip(early_rates, later, strict=True)])
    return Claim(
        paper=statement,
        measured=f"{crossovers_text(found)}; difference {format_interval(gone)}",
        verdict=above(gone),
        rule=f"crossovers in the first {EARLY:.0%} of the epochs less those in the others, per pair of groups and "
        "hundred epochs: agrees if the 95 % interval lies above 0, disagrees if below",
    )


def crossovers_text(found: Mapping[str, Strata]) -> str:
    """How often two groups change their order, early and later."""
    early_rate, later = (
        format_interval(over_settings(found[name])) for name in ("early crossovers", "later crossovers")
    )
    return (
        f"crossovers of {HOLD} epochs or longer, per pair of groups and hundred epochs: {early_rate} in the first "
        f"{EARLY:.0%} of the epochs, {later} after it"
    )
