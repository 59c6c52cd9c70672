"""Shares of the epochs at which an order holds, and verdicts by them, on numbers computed by hand."""

import numpy as np
import pytest

from prune_env.studies.importance_shift.orders import by_share, followed, shares_text


@pytest.fixture
def network(known_rows):
    """Two seeds, three epochs, groups encoder.0 (coupling), encoder.1, decoder.2."""
    values = [[[1.0, 2, 3], [3, 2, 1], [4, 5, 6]], [[9.0, 2, 3], [3, 2, 1], [4, 5, 6]]]
    rows = [row for seed, of_seed in enumerate(values) for row in known_rows(of_seed, seed=seed)]
    (found,) = followed(rows, "fisher")
    return found


def test_rows_of_all_seeds_become_one_network(network):
    assert network.setting == "latent 4" and network.logs.shape == (2, 3, 3)
    assert network.groups == ["encoder.0", "encoder.1", "decoder.2"] and network.coupling == ["encoder.0"]
    assert network.component("encoder") == ["encoder.1"]
    assert network.component("encoder", "decoder") == ["encoder.1", "decoder.2"]
    assert np.exp(network.select(["decoder.2", "encoder.0"])[1]).ravel() == pytest.approx([3, 9, 1, 3, 6, 4])


def test_the_best_of_some_groups_is_compared_with_the_best_of_others(network):
    assert network.above(["encoder.0"], ["encoder.1", "decoder.2"]).tolist() == [
        [False, True, False],
        [True, True, False],
    ]
    assert np.exp(network.mean(["encoder.1", "decoder.2"]))[0] == pytest.approx([6**0.5, 2**0.5, 30**0.5])


def test_an_importance_of_zero_is_no_infinity(known_rows):
    (found,) = followed(known_rows([[0.0, 1.0]]), "bayes")
    assert np.isfinite(found.logs).all()


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ({"a": [0.9, 0.95, 1.0], "b": [1, 1, 1]}, "agrees"),
        ({"a": [0.89, 0.95, 1.0], "b": [1, 1, 1]}, "cannot be decided"),
        ({"a": [1, 1, 1], "b": [0.49, 0.2, 0.0]}, "disagrees"),
        ({"a": [1, 1, 1], "b": [0.51, 0.2, 0.0]}, "cannot be decided"),
        ({"a": [1, 1], "b": [1, 1]}, "cannot be decided"),
    ],
)
def test_an_order_holds_in_every_network_and_seed_or_not(shares, verdict):
    assert by_share({name: np.array(found) for name, found in shares.items()}) == verdict


def test_one_recorded_run_and_another_bound():
    assert by_share({"a": np.array([0.95])}, least=1) == "agrees"
    assert by_share({"a": np.array([0.5, 0.6, 0.5])}, most=0.5) == "agrees"
    assert by_share({"a": np.array([0.4, 0.3, 0.2])}, most=0.5) == "disagrees"


def test_shares_are_a_range_where_seeds_differ():
    assert shares_text({"a": np.array([0.5, 1.0]), "b": np.array([0.25])}) == "a: 50% to 100%; b: 25%"
