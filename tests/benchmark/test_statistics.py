"""Every statistic against numbers worked out by hand."""

import numpy as np
import pytest

from prune_env.benchmark.statistics import (
    area_under_curve,
    hypervolume,
    performance_profile,
    share_better,
    useful_area,
)

x = np.nan


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


def test_the_useful_area_counts_nothing_below_the_floor():
    # trapezoids of 1, 0.5, 0 (for -0.8): as above
    assert useful_area([1.0, 0.5, -0.8], [0.3, 0.5, 0.9]) == pytest.approx(0.25 / 0.6)
    assert area_under_curve([1.0, 0.5, -0.8], [0.3, 0.5, 0.9]) == pytest.approx((0.15 - 0.06) / 0.6)
    assert np.isnan(useful_area([1.0, x, 0.0], [0.3, 0.5, 0.9]))


def test_share_better():
    # networks: 3 > 2 and 3 > 1 makes 2 of 2; 1 < 4 and 1 = 1 makes 0.5 of 2
    assert share_better([[3.0, 1.0]], [[2.0, 4.0], [1.0, 1.0]]) == 0.625
    assert share_better([[2.0, 4.0], [1.0, 1.0]], [[3.0, 1.0]]) == 0.375
    assert np.isnan(share_better(np.zeros((1, 0)), np.zeros((1, 0))))


def test_performance_profile():
    profile = performance_profile([[0.9, 0.5, 0.2], [0.8, 0.1, 0.6]], [0.0, 0.5, 0.85])
    np.testing.assert_array_equal(profile.mean(axis=(1, 2)), [1.0, 0.5, 1 / 6])
    assert profile.shape == (3, 2, 3)
