"""Rank correlation across a few groups, with a permutation test.

Letters: M networks and cuts, G groups, R permutations.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations
from math import factorial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

Array = NDArray[np.float64]

CHANCE = 0.05
"""Significance level of the permutation test."""
_MOST = 10_000


def rank_correlation(first: ArrayLike, second: ArrayLike) -> Array:
    """Spearman's correlation of values [..., G] and [..., G], [...]; 0 where either is constant."""
    return np.asarray((_standardised(first) * _standardised(second)).sum(axis=-1))


def permutation_p(predictor: ArrayLike, outcome: ArrayLike) -> float:
    """Two-sided p-value of the mean rank correlation.

    Seeds and ratios of one architecture share their groups, so that more of them add no evidence on which groups
    matter. Therefore one permutation of the groups is applied to all of them.

    Args:
        predictor: [M, G].
        outcome: [M, G], or [G] for all.

    Returns:
        Share of permutations (all of them for up to seven groups, else `_MOST` random ones) whose mean correlation is
        at least as far from 0.
    """
    first, second = np.broadcast_arrays(_standardised(predictor), _standardised(outcome))
    table = first.T @ second  # the statistic of a permutation is the sum of one entry in each row
    found = np.abs(table[np.arange(len(table)), _orders(len(table))].sum(axis=1))
    return float(np.mean(found >= abs(np.trace(table)) - 1e-9))


def _standardised(values: ArrayLike) -> Array:
    """Ranks with mean 0 and norm 1, so that inner products are correlations; zeros for a constant."""
    ranks = rankdata(np.asarray(values, dtype=float), axis=-1)
    ranks = ranks - ranks.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(ranks, axis=-1, keepdims=True)
    return np.divide(ranks, length, out=np.zeros_like(ranks), where=length > 0)


@lru_cache
def _orders(groups: int) -> NDArray[np.int64]:
    """Permutations of the groups, [R, G], the identity first."""
    if factorial(groups) <= _MOST:
        return np.array(list(permutations(range(groups))))
    random = np.random.default_rng(0).permuted(np.tile(np.arange(groups), (_MOST - 1, 1)), axis=1)
    return np.concatenate([np.arange(groups)[None], random])
