"""Every statistic against numbers worked out by hand, and against scipy where it has the same."""

import numpy as np
import pytest
import scipy.stats

from prune_env.benchmark.statistics import (
    area_under_curve,
    hypervolume,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    run_mean,
)

x = np.nan


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_area_under_curve():
    # trapezoids: 0.2 * (1 + 0.5)/2 = 0.15 and 0.4 * (0.5 + 0)/2 = 0.1, over a range of 0.6
    assert area_under_curve([1.0, 0.5, 0.0], [0.3, 0.5, 0.9]) == pytest.approx(0.25 / 0.6)
    curves = np.array([[1.0, 0.5, 0.0], [0.4, 0.4, 0.4]]).T  # [B, 2]
    np.testing.assert_allclose(area_under_curve(curves, [0.3, 0.5, 0.9], axis=0), [0.25 / 0.6, 0.4])


def test_area_with_one_sparsity_is_the_score_there():
    np.testing.assert_array_equal(area_under_curve([[0.2], [0.7]], [0.5]), [0.2, 0.7])


def test_area_of_an_incomplete_run_is_not_a_number():
    assert np.isnan(area_under_curve([1.0, x, 0.0], [0.3, 0.5, 0.9]))


@pytest.mark.parametrize("sparsities", [[0.5, 0.3], [0.5, 0.5]])
def test_area_wants_ascending_sparsities(sparsities):
    with pytest.raises(ValueError, match="ascend"):
        area_under_curve([1.0, 0.5], sparsities)


def test_hypervolume():
    # heights by what lies at or beyond: 0.9 up to 0.3, then 0.6 up to 0.7 (0.4 is dominated), nothing beyond
    sparsity, retained = [0.5, 0.3, 0.9, 0.7], [0.4, 0.9, -1.0, 0.6]
    assert hypervolume(sparsity, retained) == pytest.approx(0.3 * 0.9 + 0.4 * 0.6)
    assert hypervolume(np.array([sparsity]).T, np.array([retained]).T, axis=0) == pytest.approx(0.51)
    assert hypervolume([0.0, 0.0], [1.0, 1.0]) == 0.0


def test_interquartile_mean():
    assert interquartile_mean(np.arange(1.0, 9.0).reshape(4, 2)) == 4.5  # (3 + 4 + 5 + 6) / 4
    assert interquartile_mean([[1.0, 100.0], [2.0, x], [4.0, x]]) == pytest.approx(3.0)  # 1 and 100 trimmed
    assert np.isnan(interquartile_mean([[x, x]]))


def test_interquartile_mean_is_scipys_trimmed_mean_row_by_row(rng):
    scores = rng.normal(size=(30, 7, 4))
    scores[rng.random(scores.shape) < 0.4] = x  # every row has another number of runs
    expected = [scipy.stats.trim_mean(row[~np.isnan(row)], 0.25) for row in scores]
    np.testing.assert_allclose(interquartile_mean(scores), expected)


def test_share_of_collapses_is_a_mean_over_runs():
    assert run_mean([[1.0, 0.0], [0.0, x], [0.0, x]]) == 0.25


def test_probability_of_improvement():
    # stratum 1: 3>2, 3>1, 1<2, 1=1 makes 2.5 of 4; stratum 2: 0<1 makes 0 of 1; stratum 3: the second has no run
    first = np.array([[3.0, 0.0, 5.0], [1.0, x, 5.0]])
    second = np.array([[2.0, 1.0, x], [1.0, x, x]])
    assert probability_of_improvement(first, second) == pytest.approx((0.625 + 0.0) / 2)
    assert probability_of_improvement(second, first) == pytest.approx(1 - 0.3125)


def test_probability_of_improvement_is_the_mann_whitney_statistic(rng):
    first, second = rng.integers(0, 5, (2, 8, 3)).astype(float)
    u = [scipy.stats.mannwhitneyu(a, b).statistic / 64 for a, b in zip(first.T, second.T, strict=True)]
    assert probability_of_improvement(first, second) == pytest.approx(np.mean(u))
    stacked = probability_of_improvement(np.stack([first, second]), np.stack([second, first]))
    np.testing.assert_allclose(stacked, [np.mean(u), 1 - np.mean(u)])


def test_performance_profile():
    # above 0.5: one of four in the first stratum, one of one in the second; strata weigh the same
    scores = [[0.9, 0.8], [0.5, x], [0.2, x], [0.1, x]]
    np.testing.assert_allclose(performance_profile(scores, [0.0, 0.5, 0.85]), [1.0, 0.625, 0.125])
