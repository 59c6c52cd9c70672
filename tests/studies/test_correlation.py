"""Rank correlations and permutation tests against SciPy and the obvious ones."""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import spearmanr

from prune_env.studies.core.correlation import permutation_p, rank_correlation


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    for _ in range(20):
        one, other = rng.integers(0, 5, size=(2, 7))
        assert rank_correlation(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert rank_correlation([1, 2, 3, 4], [10, 20, 40, 30]) == pytest.approx(0.8)
    assert rank_correlation([[1, 1, 1], [1, 2, 3]], [1, 2, 3]).tolist() == pytest.approx([0, 1])


def test_every_order_of_a_few_groups_is_tried():
    rng = np.random.default_rng(0)
    predictor, outcome = rng.random((3, 5)), rng.random((3, 5))

    def correlation(order):
        return np.mean([spearmanr(p[list(order)], o).statistic for p, o in zip(predictor, outcome, strict=True)])

    found = abs(correlation(range(5)))
    expected = np.mean([abs(correlation(order)) >= found - 1e-9 for order in permutations(range(5))])
    assert permutation_p(predictor, outcome) == pytest.approx(expected)


def test_more_seeds_of_the_same_groups_say_no_more():
    one, other = np.array([[1.0, 2, 3, 4]]), np.array([1.0, 2, 4, 3])
    assert permutation_p(one, other) == permutation_p(np.repeat(one, 50, axis=0), other)
    assert permutation_p([[1, 2, 3, 4]], [1, 2, 3, 4]) == pytest.approx(2 / 24)


def test_many_groups_are_drawn_at_random():
    order = np.arange(12)
    assert permutation_p([order], order) == pytest.approx(1e-4)
    assert permutation_p([order], np.ones(12)) == 1
    chances = [permutation_p(rng.random((1, 8)), rng.random(8)) for rng in map(np.random.default_rng, range(300))]
    assert np.mean(np.array(chances) < 0.05) == pytest.approx(0.05, abs=0.03)
