"""H3 of arXiv 2601.19794, "importance is static", against the shifts that the paper reports: how orders change.

Letters: E epochs, G groups, K settings of a network, N seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from prune_env.studies.core.intervals import all_of, below, format_interval, over_settings
from prune_env.studies.core.study import Claim
from prune_env.studies.importance_shift.ranks import HOLD, Array, after_warm_up, crossovers, tau

STATIC = 0.9
"""A tau above this leaves fewer than one pair of groups in twenty in another order."""
WINDOW = 20
"""Importance "at" a time is the mean over this fraction of the epochs."""
_Q_NETWORKS = ("q1.", "q2.")

Strata = Sequence[Sequence[float]]


def shift_statistics(groups: Sequence[str], values: Array) -> dict[str, float]:
    """How the order of the groups changes after the warm-up.

    Args:
        groups: Names; groups of TD-MPC's two Q-networks count once, since which of the two is ahead is chance.
        values: Importance [E, G].

    Returns:
        "tau" between the first window of epochs and the last; "neighbouring tau", the mean between each window and the
        next, which noise alone would give; "crossovers" per pair of groups and hundred epochs.
    """
    merged = after_warm_up(merge_q_networks(groups, np.log(values)))
    width = max(1, len(merged) // WINDOW)
    windows = merged[: len(merged) // width * width].reshape(-1, width, merged.shape[1]).mean(axis=1)
    pairs = merged.shape[1] * (merged.shape[1] - 1) / 2
    return {
        "tau": float(tau(windows[0], windows[-1])),
        "neighbouring tau": float(tau(windows[:-1], windows[1:]).mean()),
        "crossovers": len(crossovers(merged)) / pairs / len(merged) * 100,
    }


def merge_q_networks(groups: Sequence[str], values: Array) -> Array:
    """Values [E, G] with the mean of each pair of groups of the two Q-networks in place of both."""
    columns: dict[str, list[int]] = {}
    for i, name in enumerate(groups):
        twin = next((name.removeprefix(prefix) for prefix in _Q_NETWORKS if name.startswith(prefix)), None)
        columns.setdefault(name if twin is None else f"q.{twin}", []).append(i)
    return np.stack([values[:, found].mean(axis=1) for found in columns.values()], axis=1)


def shifting_claim(words: str, found: Mapping[str, Strata]) -> Claim:
    """The paper's statement that importance shifts.

    Args:
        words: On what it is tested.
        found: The values [K] of [N] of each of `shift_statistics`.
    """
    change, noise, counted = (over_settings(found[name]) for name in ("tau", "neighbouring tau", "crossovers"))
    beyond = over_settings(
        [np.subtract(a, b).tolist() for a, b in zip(found["tau"], found["neighbouring tau"], strict=True)]
    )
    return Claim(
        paper=f"Importance shifts while the network learns, so H3 (it is static) is wrong ({words})",
        measured=f"Kendall's tau from the end of the warm-up to the end: {format_interval(change)}, between "
        f"neighbouring times {format_interval(noise)}; crossovers per pair of groups and hundred epochs: "
        f"{format_interval(counted)}",
        verdict=all_of([below(change, STATIC), below(beyond)]),
        rule=f"agrees if the 95 % interval of tau lies below {STATIC} (one pair of groups in twenty has changed its "
        f"order) and that of its difference from the tau of neighbouring times, each a {WINDOW}th of the epochs, below "
        f"0; disagrees if either lies above. A crossover lasts at least {HOLD} epochs",
    )
