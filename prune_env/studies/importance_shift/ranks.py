"""Rank statistics of importance, invariant to monotone transformations of a measure.

Letters: E epochs, G groups.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from prune_env.studies.core.study import Row, Rows

Array = NDArray[np.float64]

HOLD = 3
"""Epochs that a new order of two groups must last to count as a crossover."""
EARLY = 0.2
"""Share of the epochs that are early: the initial transient."""


def curves(rows: Rows, measure: str) -> tuple[list[str], list[int], Array]:
    """Group names, epochs and importance [E, G] of the rows of one network."""
    found = [r for r in rows if r["kind"] == "importance"]
    groups = list(dict.fromkeys(str(r["group"]) for r in found))
    epochs = list(dict.fromkeys(int(r["epoch"]) for r in found))
    values = np.array([float(r[measure]) for r in found]).reshape(len(epochs), len(groups))
    return groups, epochs, values


def networks(rows: Rows) -> dict[tuple[str, str, int], Rows]:
    """The rows of every network, by (target, setting, seed)."""
    result: dict[tuple[str, str, int], Rows] = {}
    for row in rows:
        result.setdefault(network_of(row), []).append(row)
    return result


def network_of(row: Row) -> tuple[str, str, int]:
    """Target, setting and seed."""
    return str(row["target"]), str(row["setting"]), int(row["seed"])


def early(epochs: int) -> int:
    """How many of a number of epochs are early."""
    return int(EARLY * epochs)


def rank(values: Array) -> Array:
    """1 for the most important group, G for the least, [..., G]; equal groups share the mean."""
    return np.asarray(rankdata(-values, axis=-1))


def tau(first: Array, second: Array) -> Array:
    """Kendall's tau-b of importance vectors [..., G]: 1 for the same order, -1 for the reverse, 0 without any order."""
    orders = [_orders(values) for values in (first, second)]
    decided = np.sqrt(np.prod([np.abs(order).sum(axis=-1) for order in orders], axis=0))
    agreeing = (orders[0] * orders[1]).sum(axis=-1)
    return np.divide(agreeing, decided, out=np.zeros_like(decided), where=decided > 0)


def _orders(values: Array) -> Array:
    """Sign of the difference in every pair of groups, [..., G (G - 1) / 2]."""
    i, j = np.triu_indices(values.shape[-1], 1)
    return np.asarray(np.sign(values[..., i] - values[..., j]))


def lagged_tau(values: Array, lag: int) -> float:
    """Mean tau of importance [E, G] with itself `lag` epochs later."""
    return float(tau(values[:-lag], values[lag:]).mean())


def crossovers(values: Array, hold: int = HOLD) -> list[tuple[int, int, int]]:
    """When two groups changed their order for at least `hold` epochs: (index of the epoch, group, group).

    Args:
        values: Importance [E, G].
        hold: Shorter changes, and a change in the last epochs that is not seen to last, do not count.
    """
    found = []
    for i in range(values.shape[1]):
        for j in range(i + 1, values.shape[1]):
            order = np.sign(values[:, i] - values[:, j])
            present = order[0]
            for epoch in range(1, len(order) - hold + 1):
                new = order[epoch]
                if new and new != present and (order[epoch : epoch + hold] == new).all():
                    if present:
                        found.append((epoch, i, j))
                    present = new
    return sorted(found)
