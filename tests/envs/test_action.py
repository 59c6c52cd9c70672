"""From ratios to channels: rounding, the budget projection, and which channels stay."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.envs.action import choose_channels, project, validate_action, widths_after

ONES = np.ones(3, dtype=np.int64)


def chain_cost(widths):
    """Parameters of a chain 10 - a - b - c - 5 of Linear layers."""
    a, b, c = np.moveaxis(np.asarray(widths), -1, 0)
    return 10 * a + a + a * b + b + b * c + c + 5 * c + 5


@pytest.mark.parametrize(
    ("ratio", "width", "kept"), [(0.0, 10, 10), (0.04, 10, 10), (0.06, 10, 9), (0.9, 10, 1), (0.99, 10, 1), (0.5, 3, 2)]
)
def test_rounding_to_nearest_keeps_at_least_one(ratio, width, kept):
    assert widths_after(np.array([ratio]), np.array([width]), np.array([1]))[0] == kept


def test_round_to_and_min_channels():
    widths = np.array([16, 16, 6])
    assert widths_after(np.array([0.4, 0.9, 0.9]), widths, np.array([1, 3, 3]), round_to=4).tolist() == [8, 4, 4]
    assert widths_after(np.zeros(3), widths, ONES, round_to=4).tolist() == [16, 16, 6]  # what is not cut stays as it is


@given(
    st.lists(st.floats(0, 0.95), min_size=3, max_size=3),
    st.lists(st.integers(2, 60), min_size=3, max_size=3),
    st.floats(0.05, 0.9),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_projection_meets_the_budget_as_closely_as_channels_allow(ratios, widths, budget):
    widths = np.array(widths)
    target = max((1 - budget) * chain_cost(widths), float(chain_cost(ONES)))
    kept = project(np.array(ratios), widths, chain_cost, target, ONES)
    assert (kept >= 1).all() and (kept <= widths).all()
    assert chain_cost(kept) <= target
    dearest_step = max(chain_cost(np.minimum(kept + step, widths)) - chain_cost(kept) for step in np.eye(3, dtype=int))
    assert target - chain_cost(kept) <= 3 * dearest_step + 1


def test_projection_follows_the_direction():
    widths = np.array([40, 40, 40])
    kept = project(np.array([0.8, 0.4, 0.1]), widths, chain_cost, 0.4 * chain_cost(widths), ONES)
    assert kept[0] < kept[1] < kept[2]
    # One exponent for all: log of the kept share is proportional to log(1 - ratio), up to rounding.
    time = np.log(kept / widths) / np.log1p([-0.8, -0.4, -0.1])
    assert time.std() / time.mean() < 0.2


def test_no_preference_cuts_uniformly():
    widths = np.array([50, 40, 30])
    target = 0.3 * chain_cost(widths)
    assert project(np.zeros(3), widths, chain_cost, target, ONES).tolist() == (
        project(np.full(3, 0.5), widths, chain_cost, target, ONES).tolist()
    )


def test_a_group_left_alone_goes_last():
    widths = np.array([20, 20, 20])
    kept = project(np.array([0.9, 0.9, 0.0]), widths, chain_cost, 0.5 * chain_cost(widths), ONES)
    assert kept[2] == 20
    deep = project(np.array([0.9, 0.9, 0.0]), widths, chain_cost, 30.0, ONES)
    assert deep[:2].tolist() == [1, 1] and deep[2] < 20 and chain_cost(deep) <= 30


def test_a_met_budget_cuts_nothing():
    widths = np.array([5, 5, 5])
    assert project(np.full(3, 0.9), widths, chain_cost, 1e9, ONES).tolist() == [5, 5, 5]


def test_choose_channels_by_hand():
    values = np.array([3.0, 1.0, 2.0, 5.0, 4.0])
    group_of = np.array([0, 0, 0, 1, 1])
    assert choose_channels(values, group_of, np.array([2, 1])).tolist() == [True, False, False, True, False]
    assert choose_channels(values, group_of, np.array([0, 0])).all()


def test_choose_channels_equals_the_obvious_loop():
    random = np.random.default_rng(0)
    for _ in range(50):
        widths = random.integers(1, 8, size=4)
        group_of = np.repeat(np.arange(4), widths)
        values = random.normal(size=len(group_of))
        remove = random.integers(0, widths)
        expected = np.ones(len(group_of), dtype=bool)
        for g in range(4):
            mine = np.flatnonzero(group_of == g)
            expected[mine[np.argsort(values[mine])[: remove[g]]]] = False
        assert (choose_channels(values, group_of, remove) == expected).all()


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (np.zeros(2), "shape"),
        (np.zeros((1, 3)), "shape"),
        (np.array([0.1, np.nan, 0.1]), "finite"),
        (np.array([0.1, np.inf, 0.1]), "finite"),
        (np.array([-0.1, 0.0, 0.0]), "RescaleAction"),
        (np.array([0.99, 0.0, 0.0]), "0.95"),
    ],
)
def test_bad_actions_are_refused_in_words(action, words):
    with pytest.raises(ValueError, match=words):
        validate_action(action, 3, 0.95)


def test_rounding_errors_of_float32_are_forgiven():
    assert validate_action(np.array([np.float32(0.95), 0.0, -1e-8]), 3, 0.95).max() <= 0.95


def test_widths_that_shrink_are_multiples_of_round_to():
    widths = np.array([49, 34, 19, 4])
    least = np.ones(4, dtype=int)
    for kept in (
        widths_after(np.full(4, 0.95), widths, least, 8),
        project(np.array([0.1, 0.5, 0.9, 0.9]), widths, lambda w: w.sum(-1), 60, least, 8),
    ):
        assert ((kept % 8 == 0) | (kept == widths)).all() and (kept >= 1).all()
