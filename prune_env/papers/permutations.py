"""Whether a rank correlation across a handful of groups could be chance: groups are exchanged, in all networks alike.

Letters: M networks and cuts, G groups, R permutations.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations
from math import factorial

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

CHANCE = 0.05
"""A correlation that as many permutations or more would give is not told from chance."""
_MOST = 10_000


def permutation_p(predictor: ArrayLike, outcome: ArrayLike) -> float:
    """Two-sided p-value of the mean rank correlation.

    Seeds and ratios of one architecture share their groups: however many there are, they say no more of which groups
    matter than the groups that there are. So one permutation is applied to all of them.

    Args:
        predictor: [M, G].
        outcome: [M, G], or [G] for all.

    Returns:
        Share of permutations (all of them for up to seven groups, else `_MOST` random ones) whose mean correlation is
        at least as far from 0.
    """
    first, second = _standardised(predictor), _standardised(outcome)
    table = np.einsum("mg,mh->gh", np.broadcast_to(first, np.broadcast_shapes(first.shape, second.shape)),
                      np.broadcast_to(second, np.broadcast_shapes(first.shape, second.shape)))  # fmt: skip
    orders = _orders(table.shape[0])
    found = np.abs(table[np.arange(table.shape[0]), orders].sum(axis=1))
    return float(np.mean(found >= abs(np.trace(table)) - 1e-9))


def _standardised(values: ArrayLike) -> np.ndarray:
    """Ranks with mean 0 and length 1, so that products are Spearman's correlations; those of a constant are 0."""
    ranks = np.atleast_2d(rankdata(np.asarray(values, dtype=float), axis=-1))
    ranks = ranks - ranks.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(ranks, axis=-1, keepdims=True)
    return np.divide(ranks, length, out=np.zeros_like(ranks), where=length > 0)


@lru_cache
def _orders(groups: int) -> np.ndarray:
    """Permutations of the groups, [R, G], the identity first."""
    if factorial(groups) <= _MOST:
        return np.array(list(permutations(range(groups))))
    random = np.random.default_rng(0).permuted(np.tile(np.arange(groups), (_MOST - 1, 1)), axis=1)
    return np.concatenate([np.arange(groups)[None], random])
