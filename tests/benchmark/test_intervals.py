"""Intervals over networks and seeds: Student's t where it is known, and simulated coverage everywhere."""

import numpy as np
import pytest
import scipy.stats

from prune_env.benchmark.intervals import LEAST_NETWORKS, difference_interval, mean_interval

POPULATIONS = {  # effects of networks, of mean 0 and variance 1
    "normal": lambda rng, size: rng.normal(size=size),
    "beta": lambda rng, size: (rng.beta(2, 6, size) - 0.25) / np.sqrt(0.25 * 0.75 / 9),
    "bimodal": lambda rng, size: (rng.choice([-1.0, 1.0], size) + 0.2 * rng.normal(size=size)) / np.sqrt(1.04),
    "heavy tails": lambda rng, size: rng.standard_t(3, size) / np.sqrt(3),
}
SEED_AND_REST = [(0.0, 0.3), (0.1, 0.3), (0.5, 0.3), (1.0, 1.0)]
"""Standard deviations of the effects of training seeds, and of what is left, where that of networks is 1."""
REPEATS = 4000
LEAST_COVERAGE = 0.93 - 2 * np.sqrt(0.93 * 0.07 / REPEATS)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def simulated(rng, population, networks, seeds, spread, rest):
    """Scores [REPEATS, S, N], and the mean that the interval is of: with one seed, that of this agent."""
    effect = POPULATIONS[population](rng, (REPEATS, 1, networks))
    seed = spread * rng.normal(size=(REPEATS, seeds, 1))
    scores = effect + seed + rest * rng.normal(size=(REPEATS, seeds, networks))
    return scores, seed[:, 0, 0] if seeds == 1 else 0.0


def coverage(interval, truth):
    return np.mean((interval.low <= truth) & (truth <= interval.high))


@pytest.mark.parametrize("population", POPULATIONS)
@pytest.mark.parametrize("networks", [6, 12, 24, 48])
def test_means_are_covered_as_often_as_promised(rng, population, networks):
    for seeds in (1, 2, 3, 5):
        for spread, rest in SEED_AND_REST:
            scores, truth = simulated(rng, population, networks, seeds, spread, rest)
            assert coverage(mean_interval(scores), truth) >= LEAST_COVERAGE, (seeds, spread, rest)


@pytest.mark.parametrize("networks", [6, 24])
def test_differences_are_covered_as_often_as_promised(rng, networks):
    """An agent of several seeds against a heuristic, and against another agent."""
    for seeds, others in ((2, 1), (5, 1), (3, 3)):
        for spread, rest in SEED_AND_REST:
            first, _ = simulated(rng, "normal", networks, seeds, spread, rest)
            second, truth = simulated(rng, "beta", networks, others, spread if others > 1 else 0.0, rest)
            assert coverage(difference_interval(first, second), 0.0 - truth) >= LEAST_COVERAGE, (seeds, others)


def test_with_one_seed_it_is_students_interval(rng):
    scores = rng.normal(size=12)
    value, low, high = mean_interval([scores])
    expected = scipy.stats.t.interval(0.95, 11, scores.mean(), scipy.stats.sem(scores))
    assert (value, low, high) == (pytest.approx(scores.mean()), *map(pytest.approx, expected))


def test_seeds_that_differ_widen_the_interval(rng):
    once = rng.normal(size=(1, 12))
    alike = mean_interval(np.repeat(once, 3, axis=0))
    assert alike == pytest.approx(mean_interval(once))
    apart = mean_interval(np.repeat(once, 3, axis=0) + np.array([[-0.5], [0.0], [0.5]]))
    assert apart.high - apart.low > 1.5 * (alike.high - alike.low)
    # t(11)^2 var_networks / 12 + t(2)^2 var_seeds / 3
    squares = [scipy.stats.t.ppf(0.975, n - 1) ** 2 * v / n for n, v in ((12, once.var(ddof=1)), (3, 0.25))]
    assert apart.high - apart.value == pytest.approx(np.sqrt(sum(squares)))


def test_what_a_network_does_to_both_cancels(rng):
    second = rng.normal(size=(1, 8))
    assert difference_interval(second + 0.1, second) == pytest.approx((0.1, 0.1, 0.1))
    both = rng.normal(size=(2, 1, 8))
    lead = difference_interval(*both)
    expected = scipy.stats.ttest_rel(both[0, 0], both[1, 0]).confidence_interval()
    assert (lead.low, lead.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


@pytest.mark.parametrize("networks", [0, 1, LEAST_NETWORKS - 1])
def test_too_few_networks_have_no_interval(networks):
    scores = np.ones((2, networks))
    for interval in (mean_interval(scores), difference_interval(scores, scores)):
        assert np.isnan(interval.low) and np.isnan(interval.high)
    assert np.isnan(mean_interval(scores).value) == (networks == 0)


def test_many_means_at_once(rng):
    scores = rng.random((5, 3, 10))
    interval = mean_interval(scores)
    assert interval.low.shape == (5,)
    for i in range(5):
        assert tuple(part[i] for part in interval) == pytest.approx(tuple(mean_interval(scores[i])))
