"""The knapsack of widths: least damage within a cost, by dynamic programming on the exact cost of the network.

The cost of a network is no sum over groups: a layer costs the product of the widths on its two sides. But a group
meets few others in a layer, so the groups are decided one after another, and of the decided ones only those matter
that meet an undecided one: the front. Two partial choices with the same widths at the front are completed alike,
so the one that costs more and damages more can go. Which groups meet is found by asking for costs.

Letters: G groups, L levels of a group, S partial choices, B batch of width vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

CostOf = Callable[[np.ndarray], np.ndarray]
"""Widths int [B, G] -> cost [B]; it must not fall as widths grow."""

_PROBES = 3  # random widths at which each pair of groups is tried
_CHUNK = 4096  # width vectors in one call
_BINS = 100  # bins of costs, where the front has too many patterns


def knapsack(
    levels: Sequence[np.ndarray],
    damage: Sequence[np.ndarray],
    cost_of: CostOf,
    target: float,
    most: int = 20_000,
) -> np.ndarray:
    """The widths, int [G], whose damages have the least sum, at a cost of at most `target`.

    Exact as long as no more than `most` partial choices are worth keeping; beyond, of those with nearly equal cost only
    the best are kept. The result never costs more than `target`. If even the smallest widths do, they are returned.

    Args:
        levels: Widths that each group may have, ascending, G arrays int [L].
        damage: What is lost at each of them, G arrays float [L].
        cost_of: Cost of widths int [B, G].
        target: Cost to end at.
        most: Partial choices to keep.
    """
    least = np.array([widths[0] for widths in levels])
    floor = float(cost_of(least[None])[0])
    if floor > target:
        return least
    meets = meeting_groups(levels, cost_of)
    order, fronts = _order(meets)
    chosen = np.zeros((1, 0), dtype=np.int64)  # levels of the groups decided, in order, [S, decided]
    cost, lost = np.array([floor]), np.zeros(1)
    place = {g: i for i, g in enumerate(order)}
    for i, g in enumerate(order):
        touched = [j for j in range(i) if meets[g, order[j]]]
        extra = _extra_costs(chosen, touched, order, g, levels, least, cost_of)  # [S, L]
        count = len(levels[g])
        chosen = np.column_stack([np.repeat(chosen, count, axis=0), np.tile(np.arange(count), len(chosen))])
        cost, lost = (cost[:, None] + extra).ravel(), (lost[:, None] + np.asarray(damage[g])).ravel()
        fits = np.flatnonzero(cost <= target)
        kept = fits[_worth_keeping(chosen[fits][:, [place[h] for h in fronts[i]]], cost[fits], lost[fits], most)]
        chosen, cost, lost = chosen[kept], cost[kept], lost[kept]
    best = np.lexsort((cost, lost))[0]
    widths = least.copy()
    for i, g in enumerate(order):
        widths[g] = levels[g][chosen[best, i]]
    return widths


def meeting_groups(levels: Sequence[np.ndarray], cost_of: CostOf) -> np.ndarray:
    """Which groups meet in the cost, bool [G, G]: the cost of one's width depends on the other's.

    Two groups that do not meet have no mixed difference, C(a, b) - C(a, b') - C(a', b) + C(a', b'), at any widths.
    """
    random = np.random.default_rng(0)
    groups = len(levels)
    meets = np.zeros((groups, groups), dtype=bool)
    first, second = np.triu_indices(groups, 1)
    for _ in range(_PROBES):
        base = np.array([random.choice(widths) for widths in levels])
        other = np.array([_another(widths, width, random) for widths, width in zip(levels, base, strict=True)])
        for part in np.array_split(np.arange(len(first)), max(1, len(first) * 4 // _CHUNK)):
            a, b, row = first[part], second[part], np.arange(len(part))
            corners = np.tile(base, (4, len(part), 1))
            corners[1, row, a] = corners[3, row, a] = other[a]
            corners[2, row, b] = corners[3, row, b] = other[b]
            costs = np.asarray(cost_of(corners.reshape(-1, groups)), dtype=np.float64).reshape(4, len(part))
            mixed = costs[0] - costs[1] - costs[2] + costs[3]
            meets[a, b] |= np.abs(mixed) > 1e-9 * np.abs(costs).max(axis=0)
    return meets | meets.T


def _another(widths: np.ndarray, width: int, random: np.random.Generator) -> int:
    others = widths[widths != width]
    return int(random.choice(others)) if len(others) else int(width)


def _order(meets: np.ndarray) -> tuple[list[int], list[list[int]]]:
    """An order of the groups that keeps the fronts small, chosen greedily, and the front after each group."""
    order: list[int] = []
    fronts: list[list[int]] = []
    left = list(range(len(meets)))
    while left:

        def front_after(g: int) -> list[int]:
            rest = [h for h in left if h != g]
            return [h for h in [*order, g] if meets[h, rest].any()]

        chosen = min(left, key=lambda g: (len(front_after(g)), g))
        fronts.append(front_after(chosen))
        order.append(chosen)
        left.remove(chosen)
    return order, fronts


def _extra_costs(
    chosen: np.ndarray, touched: list[int], order: list[int], g: int, levels: Sequence[np.ndarray], least: np.ndarray,
    cost_of: CostOf,
) -> np.ndarray:  # fmt: skip
    """What each level of group `g` adds to the cost of each partial choice, undecided groups at their least, [S, L]."""
    patterns, pattern_of = np.unique(chosen[:, touched], axis=0, return_inverse=True)
    widths = np.tile(least, (len(patterns), len(levels[g]), 1))
    for column, i in enumerate(touched):
        widths[:, :, order[i]] = levels[order[i]][patterns[:, column], None]
    widths[:, :, g] = levels[g]
    flat = widths.reshape(-1, len(least))
    parts = np.array_split(flat, max(1, len(flat) // _CHUNK))
    costs = np.concatenate([np.asarray(cost_of(part), dtype=np.float64) for part in parts]).reshape(widths.shape[:2])
    return (costs - costs[:, :1])[pattern_of.ravel()]


def _worth_keeping(front: np.ndarray, cost: np.ndarray, lost: np.ndarray, most: int) -> np.ndarray:
    """Indices of the partial choices that no other with the same front beats in both cost and damage, at most `most`.

    Args:
        front: Levels at the front, int [S, F].
        cost: [S].
        lost: Damage, [S].
        most: If more remain, costs are sorted into bins, and the best of each bin are kept.
    """
    same = np.unique(front, axis=0, return_inverse=True)[1].ravel() if front.shape[1] else np.zeros(len(cost), int)
    order = np.lexsort((lost, cost, same))
    kept = order[_records(same[order], lost[order])]
    if len(kept) > most:
        bins = max(most // (int(same.max()) + 1), 1)
        kept = _thinned(kept, same, cost, lost, bins, each=1)
    if len(kept) > most:  # the front alone has more patterns than are kept
        kept = _thinned(kept, np.zeros_like(same), cost, lost, _BINS, each=most // _BINS)
    return kept


def _thinned(
    kept: np.ndarray, same: np.ndarray, cost: np.ndarray, lost: np.ndarray, bins: int, each: int
) -> np.ndarray:
    """Of `kept`, the cheapest one, and of each bin of costs and value of `same` the `each` that damage least."""
    lowest = float(cost[kept].min())
    span = max(float(cost[kept].max()) - lowest, np.finfo(float).tiny)
    bin_of = np.minimum((cost - lowest) / span * bins, bins - 1).astype(np.int64)
    order = kept[np.lexsort((cost[kept], lost[kept], bin_of[kept], same[kept]))]
    starts = np.r_[True, (np.diff(same[order]) != 0) | (np.diff(bin_of[order]) != 0)]
    place = np.arange(len(order))
    rank = place - np.maximum.accumulate(np.where(starts, place, 0))
    return np.union1d(order[rank < each], [kept[np.argmin(cost[kept])]])


def _records(same: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Where the damage falls below all before it in its run of equal `same`, bool [S]."""
    starts = np.r_[True, np.diff(same) != 0]
    run = np.cumsum(starts) - 1
    # Runs are separated by an offset that falls from one to the next, so that one running minimum serves them all.
    ranks = np.unique(lost, return_inverse=True)[1].ravel().astype(np.int64)
    keyed = ranks - run * (len(lost) + 1)
    best = np.minimum.accumulate(keyed)
    return np.r_[True, keyed[1:] < best[:-1]]
