"""Rank statistics against numbers computed by hand and by SciPy."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from prune_env.studies.importance_shift.ranks import (
    crossovers,
    curves,
    early,
    lagged_tau,
    networks,
    rank,
    tau,
)


def test_the_most_important_group_has_rank_one():
    assert rank(np.array([[0.1, 3.0, 2.0], [5.0, 5.0, 1.0]])).tolist() == [[3, 1, 2], [1.5, 1.5, 3]]


def test_crossovers_are_changes_of_order_that_last():
    first = [1, 1, 1, 1, 1, 1, 1, 1]
    lasting = [0, 0, 2, 2, 2, 2, 0, 2]  # ahead from epoch 2 for four epochs; the end is too short to count
    fleeting = [3, 3, 3, 0, 3, 3, 3, 3]
    values = np.transpose([first, lasting, fleeting]).astype(float)
    assert crossovers(values, hold=3) == [(2, 0, 1)]
    assert crossovers(values, hold=1) == [(2, 0, 1), (3, 0, 2), (3, 1, 2), (4, 0, 2), (4, 1, 2), (6, 0, 1), (7, 0, 1)]


def test_touching_is_no_crossover_and_parting_from_a_tie_neither():
    assert crossovers(np.array([[1, 0], [1, 1], [1, 0], [1, 0]], dtype=float), hold=1) == []
    assert crossovers(np.array([[1, 1], [2, 1], [2, 1]], dtype=float), hold=1) == []
    assert crossovers(np.array([[1, 0], [1, 1], [1, 2], [1, 2]], dtype=float), hold=2) == [(2, 0, 1)]


def test_tau_is_kendalls():
    generator = np.random.default_rng(0)
    for _ in range(20):
        one, other = generator.integers(0, 5, size=(2, 7)).astype(float)
        assert tau(one, other) == pytest.approx(kendalltau(one, other).statistic)
    assert tau(np.array([1.0, 2, 3]), np.array([1.0, 3, 2])) == pytest.approx(1 / 3)
    assert tau(np.ones(3), np.array([1.0, 2, 3])) == 0


def test_tau_at_a_lag():
    values = np.array([[1, 2, 3], [1, 2, 3], [3, 2, 1], [3, 2, 1]], dtype=float)
    assert lagged_tau(values, 1) == pytest.approx((1 - 1 + 1) / 3)
    assert lagged_tau(values, 2) == pytest.approx(-1)


def test_a_fifth_of_the_epochs_is_early():
    assert [early(epochs) for epochs in (10, 14, 110)] == [2, 2, 22]


def test_rows_of_networks_become_curves(known_rows):
    rows = known_rows([[1, 2], [3, 4], [5, 6]]) + known_rows([[7, 8]], seed=1)
    found = networks(rows)
    assert list(found) == [("autoencoder", "latent 4", 0), ("autoencoder", "latent 4", 1)]
    groups, epochs, values = curves(found["autoencoder", "latent 4", 0], "fisher")
    assert (groups, epochs, values.tolist()) == (["encoder.0", "encoder.1"], [1, 2, 3], [[1, 2], [3, 4], [5, 6]])
