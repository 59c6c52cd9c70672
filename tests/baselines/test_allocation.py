"""The allocation rule by hand and by its invariants; the threshold search against a plain loop."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from prune_env.baselines import ALLOCATIONS, allocate, register_allocation, standardise, threshold_widths

# Whole numbers, so that equal means equal, and up to a million, so that rounding stays far away.
IMPORTANCE = st.lists(st.integers(-1000, 1000), min_size=2, max_size=8).map(lambda v: np.array(v, dtype=float))
MANY = settings(deadline=None, max_examples=60)


# ---------------------------------------------------------------------- by hand
def test_standardised_numbers_by_hand():
    # mean 4, deviations -3, -1, 1, 3: variance (9 + 1 + 1 + 9) / 4 = 5
    np.testing.assert_allclose(standardise(np.array([1.0, 3.0, 5.0, 7.0])), np.array([-3, -1, 1, 3]) / math.sqrt(5))


def test_equal_numbers_standardise_to_zero():
    np.testing.assert_array_equal(standardise(np.array([2.0, 2.0, 2.0])), [0, 0, 0])
    np.testing.assert_array_equal(standardise(np.array([[0.1, 0.1, 0.1], [0.0, 1.0, 2.0]]))[0], [0, 0, 0])


def test_every_observation_of_a_batch_is_standardised_for_itself():
    batch = np.array([[1.0, 3.0], [100.0, 500.0]])
    np.testing.assert_allclose(standardise(batch), [[-1, 1], [-1, 1]])


def test_allocation_of_two_groups_by_hand():
    # z is -1 and 1; the groups keep 0.5^e = 0.15196 and 0.5^(1/e) = 0.77492 of their channels
    ratios = allocate(np.array([10.0, 30.0]), max_ratio=0.95)
    np.testing.assert_allclose(ratios, [1 - 0.1519552, 1 - 0.7749207], atol=1e-6)
    assert ratios.dtype == np.float32


def test_allocation_of_four_groups_by_hand():
    # mean 4, standard deviation sqrt(5); 0.8 stays of an average group: 0.8^exp(-z)
    z = np.array([-1.3416408, -0.4472136, 0.4472136, 1.3416408])
    expected = [1 - 0.8 ** math.exp(-value) for value in z]
    np.testing.assert_allclose(allocate(np.array([1, 3, 5, 7]), max_ratio=0.95, amount=0.2), expected, atol=1e-6)
    np.testing.assert_allclose(expected, [0.5741, 0.2946, 0.1330, 0.0567], atol=5e-5)


@pytest.mark.parametrize("amount", [0.1, 0.5, 0.9])
def test_groups_of_equal_importance_all_lose_the_amount(amount):
    np.testing.assert_allclose(allocate(np.full(5, -3.0), 0.95, amount), np.full(5, amount), rtol=1e-6)


def test_a_ratio_never_exceeds_the_bound():
    assert allocate(np.array([10.0, 30.0]), max_ratio=0.7).tolist() == pytest.approx([0.7, 0.2250793], abs=1e-6)


# ---------------------------------------------------------------------- invariants
@MANY
@given(IMPORTANCE, st.sampled_from([0.3, 0.95]), st.sampled_from([0.1, 0.5, 0.9]))
def test_ratios_lie_in_range_and_fall_with_importance(importance, max_ratio, amount):
    ratios = allocate(importance, max_ratio, amount)
    assert ratios.shape == importance.shape and ratios.min() >= 0 and ratios.max() <= np.float32(max_ratio)
    order = np.argsort(importance)
    assert (np.diff(ratios[order]) <= 0).all()
    free = ratios[order] < np.float32(max_ratio)
    grows = np.diff(importance[order]) > 0.01 * importance.std()
    assert (np.diff(ratios[order])[free[1:] & free[:-1] & grows] < 0).all()


@MANY
@given(IMPORTANCE, st.randoms(use_true_random=False))
def test_groups_are_treated_alike_wherever_they_stand(importance, random):
    order = random.sample(range(len(importance)), len(importance))
    np.testing.assert_allclose(allocate(importance[order], 0.95), allocate(importance, 0.95)[order], rtol=1e-6)


@MANY
@given(IMPORTANCE, st.floats(0.01, 100), st.floats(-1000, 1000))
def test_unit_and_origin_of_the_importance_do_not_matter(importance, scale, shift):
    assume(importance.std() > 0)
    np.testing.assert_allclose(
        allocate(importance * scale + shift, 0.95), allocate(importance, 0.95), rtol=1e-4, atol=1e-6
    )


@MANY
@given(IMPORTANCE, st.randoms(use_true_random=False))
def test_a_batch_is_allocated_row_by_row(one, random):
    other = np.array([random.uniform(-10, 10) for _ in one])
    both = allocate(np.stack([one, other]), 0.95)
    np.testing.assert_allclose(both, [allocate(one, 0.95), allocate(other, 0.95)], rtol=1e-6)


# ---------------------------------------------------------------------- threshold
def chain_cost(widths):
    """Parameters of a chain of layers from 5 inputs to 5 outputs, biases included, for widths [B, G]."""
    padded = np.pad(np.atleast_2d(widths), ((0, 0), (1, 1)), constant_values=5)
    return (padded[:, :-1] * padded[:, 1:] + padded[:, 1:]).sum(1)


def one_by_one(scores, group_of, widths, least, cost_of, target):
    """Remove the lowest channel, look, remove the next, look, ..."""
    kept = widths.copy()
    for channel in sorted(range(len(scores)), key=lambda c: (scores[c], c)):
        if cost_of(kept[None])[0] <= target:
            break
        group = group_of[channel]
        kept[group] = max(kept[group] - 1, least[group])
    return kept


def test_the_lowest_channels_of_the_whole_network_go():
    scores = np.array([0.1, 0.9, 0.2, 0.3, 0.8])
    group_of = np.array([0, 0, 1, 1, 1])
    arguments = scores, group_of, np.array([2, 3]), np.array([1, 1]), lambda w: w.sum(1)
    assert threshold_widths(*arguments, target=5).tolist() == [2, 3]
    assert threshold_widths(*arguments, target=4).tolist() == [1, 3]
    assert threshold_widths(*arguments, target=3).tolist() == [1, 2]
    assert threshold_widths(*arguments, target=2).tolist() == [1, 1]
    assert threshold_widths(*arguments, target=1).tolist() == [1, 1]  # cannot be met: at least one channel stays


@MANY
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
    st.floats(0.0, 1.1),
    st.integers(1, 3),
)
def test_bisection_finds_what_a_plain_loop_finds(widths, seed, share, least):
    random = np.random.default_rng(seed)
    widths = np.array(widths)
    group_of = np.repeat(np.arange(len(widths)), widths)
    scores = random.integers(0, 6, len(group_of)).astype(float)  # with ties
    arguments = scores, group_of, widths, np.minimum(widths, least), chain_cost, share * chain_cost(widths)[0]
    np.testing.assert_array_equal(threshold_widths(*arguments), one_by_one(*arguments))


def test_temperature_by_hand():
    """Standardised (-1, 1) at temperature 0.5: shares kept 0.5 ^ exp(2) and 0.5 ^ exp(-2)."""
    expected = [1 - 0.5 ** np.exp(2), 1 - 0.5 ** np.exp(-2)]
    np.testing.assert_allclose(allocate(np.array([0.0, 1.0]), 0.999, temperature=0.5), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ALLOCATIONS)
def test_every_allocation_keeps_its_contract(name):
    importance = np.random.default_rng(0).normal(size=(3, 5))
    ratios = ALLOCATIONS[name](importance, 0.9, 0.5, 1.0)
    assert ratios.shape == (3, 5) and ratios.dtype == np.float32
    assert (ratios >= 0).all() and (ratios <= 0.9).all()
    order = np.argsort(importance, axis=1)
    falling = np.take_along_axis(ratios, order, axis=1)
    assert (np.diff(falling, axis=1) <= 0).all()


def test_an_allocation_is_registered_once():
    with pytest.raises(ValueError, match="allocation 'rank' is already registered"):
        register_allocation("rank", allocate)
