"""Bootstrap intervals: networks are resampled whole, within strata, and jointly for paired comparisons."""

import numpy as np
import pytest

from prune_env.benchmark.bootstrap import bootstrap_interval, paired_interval, resample_runs
from prune_env.benchmark.statistics import difference, interquartile_mean, performance_profile, ratio, run_mean

x = np.nan


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_resampling_stays_within_strata_and_draws_networks_whole(rng):
    valid = np.array([[1, 1], [1, 1], [1, 0], [0, 0], [1, 0], [1, 0]], dtype=bool)  # 2 seeds a network; 4 = missing run
    rows = resample_runs(valid, rng, resamples=200, seeds_per_network=2)
    assert rows.shape == (200, 6, 2)
    pairs = rows.reshape(200, 3, 2, 2)
    assert set(pairs[..., 0, 0].ravel()) == {0, 2, 4}
    np.testing.assert_array_equal(pairs[..., 1, 0], pairs[..., 0, 0] + 1)
    assert set(rows[:, :2, 1].ravel()) == {0, 1} and (rows[:, 2:, 1] == 6).all()  # one network, and nothing else


def test_rows_must_hold_whole_networks(rng):
    with pytest.raises(ValueError, match="3 rows cannot hold"):
        resample_runs(np.ones((3, 1), dtype=bool), rng, seeds_per_network=2)


def test_bootstrap_interval_of_a_mean_is_the_textbook_one(rng):
    scores = rng.normal(size=(400, 1))
    value, low, high = bootstrap_interval(scores, run_mean, rng, resamples=4000)
    half = 1.96 * scores.std() / 20
    assert value == pytest.approx(scores.mean())
    assert (value - low, high - value) == (pytest.approx(half, rel=0.1), pytest.approx(half, rel=0.1))


def test_bootstrap_is_stratified_and_repeatable():
    value, low, high = bootstrap_interval([[1.0, 5.0], [1.0, 5.0], [1.0, x]], run_mean, np.random.default_rng(0))
    assert low == value == high  # each stratum is constant; an unstratified bootstrap would vary
    scores = np.random.default_rng(5).normal(size=(9, 2))
    again = [bootstrap_interval(scores, run_mean, np.random.default_rng(0)) for _ in range(2)]
    assert again[0] == again[1] != bootstrap_interval(scores, run_mean, np.random.default_rng(1))


def test_a_second_seed_on_the_same_networks_adds_no_certainty(rng):
    once = rng.normal(size=(12, 2))
    twice = np.repeat(once, 2, axis=0)  # the second seed says exactly the same
    as_one = bootstrap_interval(once, run_mean, np.random.default_rng(0))
    as_networks = bootstrap_interval(twice, run_mean, np.random.default_rng(0), seeds_per_network=2)
    as_runs = bootstrap_interval(twice, run_mean, np.random.default_rng(0))
    assert as_networks == pytest.approx(as_one)
    assert as_runs.high - as_runs.low < 0.8 * (as_one.high - as_one.low)


def test_one_network_has_no_interval(rng):
    for scores in ([[0.4, 0.8]], [[x, x]]):
        interval = bootstrap_interval(scores, interquartile_mean, rng)
        assert np.isnan(interval.low) and np.isnan(interval.high)
    assert bootstrap_interval([[0.4, 0.8]], interquartile_mean, rng).value == pytest.approx(0.6)


def test_a_statistic_may_have_many_values(rng):
    scores = rng.random((10, 2))
    interval = bootstrap_interval(scores, lambda s: performance_profile(s, [0.2, 0.5, 0.8]), rng)
    assert interval.low.shape == interval.high.shape == (3,)
    assert (interval.low <= interval.value).all() and (interval.value <= interval.high).all()


def test_paired_comparisons_cancel_what_a_network_does_to_both(rng):
    second = rng.random((10, 2)) + 0.1
    np.testing.assert_allclose(paired_interval(second + 0.1, second, difference, rng), [0.1] * 3)
    np.testing.assert_allclose(paired_interval(2 * second, second, ratio, rng), [2.0] * 3)


def test_paired_comparisons_leave_out_runs_that_either_lacks(rng):
    first = np.array([[1.0], [2.0], [100.0], [x]])
    second = np.array([[0.5], [1.5], [x], [-100.0]])
    np.testing.assert_allclose(paired_interval(first, second, difference, rng), [0.5] * 3)


def test_a_ratio_to_something_not_positive_is_not_a_number(rng):
    first = np.array([[1.0], [1.0], [1.0]])
    assert np.isnan(paired_interval(first, -first, ratio, rng)).all()
    value, low, high = paired_interval(first, [[0.9], [0.8], [-0.5]], ratio, rng)  # some resamples are negative
    assert value == pytest.approx(1 / 0.4) and np.isnan(low) and np.isnan(high)
