"""Allocations, an open set: how the importance of groups becomes pruning ratios. All importance heuristics use them.

Letters: B observations, G groups, W present channels of all groups, flat in group order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from prune_env.open_sets import add

AMOUNT = 0.5
"""Share of channels that a group of average importance loses in a round without a budget."""


def standardise(values: np.ndarray) -> np.ndarray:
    """Values [..., G] with mean 0 and standard deviation 1 over the groups; all zero where they are equal."""
    centred = values - values.mean(axis=-1, keepdims=True)
    spread = centred.std(axis=-1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-12)


def allocate(importance: np.ndarray, max_ratio: float, amount: float = AMOUNT, temperature: float = 1.0) -> np.ndarray:
    """Ratios float32 [..., G]: the less important a group, the larger its ratio.

    Every group keeps the share `(1 - amount) ^ exp(-z / temperature)` of its channels, with z its standardised
    importance. A budget scales the exponents, so that with a budget only their relative size matters, whatever the unit
    of importance.

    Args:
        importance: Larger is more important, [..., G]; on a logarithmic scale for values that span decades.
        max_ratio: Upper bound of a ratio.
        amount: Share of channels that a group of average importance loses.
        temperature: Positive; the larger it is, the more equal are the ratios.
    """
    speed = np.exp(-standardise(np.asarray(importance, dtype=np.float64)) / temperature)
    return np.clip(1.0 - (1.0 - amount) ** speed, 0.0, max_ratio).astype(np.float32)


def allocate_by_rank(
    importance: np.ndarray, max_ratio: float, amount: float = AMOUNT, temperature: float = 1.0
) -> np.ndarray:
    """`allocate` with ranks in place of importance: only the order of the groups matters."""
    ranks = np.argsort(np.argsort(importance, axis=-1, kind="stable"), axis=-1)
    return allocate(ranks, max_ratio, amount, temperature)


def allocate_uniformly(
    importance: np.ndarray, max_ratio: float, amount: float = AMOUNT, temperature: float = 1.0
) -> np.ndarray:
    """The same ratio for every group, whatever its importance; a reference."""
    return np.full(np.shape(importance), min(amount, max_ratio), dtype=np.float32)


Allocation = Callable[[np.ndarray, float, float, float], np.ndarray]
"""(importance [..., G], max_ratio, amount, temperature) -> ratios float32 [..., G]."""

ALLOCATIONS: dict[str, Allocation] = {
    "exponential": allocate,
    "rank": allocate_by_rank,
    "uniform": allocate_uniformly,
}
"""Name -> allocation."""


def register_allocation(name: str, allocation: Allocation) -> None:
    """Make an allocation known under a name.

    Raises:
        ValueError: If the name is taken.
    """
    add("allocation", name, allocation, ALLOCATIONS)


def threshold_widths(
    scores: np.ndarray,
    group_of: np.ndarray,
    widths: np.ndarray,
    least_widths: np.ndarray,
    cost_of: Callable[[np.ndarray], np.ndarray],
    target: float,
) -> np.ndarray:
    """Widths int [G] after removing the lowest-scoring channels of the whole network until the cost meets `target`.

    Args:
        scores: Channel scores, float [W].
        group_of: Group of each channel, int [W].
        widths: Present channels, int [G].
        least_widths: Channels that must stay, int [G].
        cost_of: Cost of widths int [B, G].
        target: Cost to end at.
    """
    order = np.argsort(scores, kind="stable")
    low, high = 0, len(order)
    while low < high:  # the first number of removed channels that meets the target
        middle = (low + high) // 2
        removed = np.bincount(group_of[order[:middle]], minlength=len(widths))
        if cost_of(np.maximum(widths - removed, least_widths)[None])[0] <= target:
            high = middle
        else:
            low = middle + 1
    removed = np.bincount(group_of[order[:low]], minlength=len(widths))
    return np.maximum(widths - removed, least_widths)
