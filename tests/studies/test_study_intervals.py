import numpy as np
import pytest
from scipy.stats import sem
from scipy.stats import t as student

from prune_env.benchmark.intervals import Interval
from prune_env.studies.core.intervals import above, all_of, below, format_interval, over_seeds, over_settings, unanimous


def test_the_interval_is_students():
    values = np.array([[1.0, 0.0], [2.0, 0.0], [6.0, 0.0]])
    found = over_seeds(values)
    assert found.value.tolist() == [3.0, 0.0]
    low, high = student.interval(0.95, 2, loc=3.0, scale=sem(values[:, 0]))
    assert (found.low[0], found.high[0]) == pytest.approx((low, high))
    assert (found.low[1], found.high[1]) == (0.0, 0.0)


def test_of_three_seeds_nineteen_intervals_in_twenty_hold_the_truth():
    draws = np.random.default_rng(0).normal(size=(3, 4000))
    found = over_seeds(draws)
    assert np.mean((found.low < 0) & (found.high > 0)) == pytest.approx(0.95, abs=0.01)


def test_the_interval_over_settings_is_of_seeds_within_them():
    strata = np.random.default_rng(0).normal(loc=[[0], [5], [9]], size=(4000, 3, 3))
    found = [over_settings(values) for values in strata[:1000]]
    assert np.mean([f.low < 14 / 3 < f.high for f in found]) == pytest.approx(0.95, abs=0.02)
    assert over_settings([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]) == (0.5, 0.5, 0.5)  # settings differ, seeds do not
    one = [0.0, 1.0, 5.0]
    assert over_settings([one]) == pytest.approx(tuple(over_seeds(one)))
    assert np.isnan(over_settings([[0.0, 1.0, 2.0], [1.0, 2.0]]).low)


def test_two_seeds_decide_nothing():
    found = over_seeds([1.0, 1.0])
    assert found.value == 1.0 and np.isnan(found.low) and np.isnan(found.high)
    assert above(found) == below(found) == "cannot be decided"
    assert format_interval(found) == "1.00"


def test_a_statement_of_parts_needs_all_of_them():
    yes, no, open_ = "agrees", "disagrees", "cannot be decided"
    assert [all_of(v) for v in ([yes, yes], [yes, open_], [open_, no], [yes, no])] == [yes, open_, no, no]
    assert [unanimous(v) for v in ([yes, yes], [yes, open_], [no, no], [yes, no])] == [yes, open_, no, open_]


@pytest.mark.parametrize(
    "low, high, higher, lower",
    [
        (0.1, 0.2, "agrees", "disagrees"),
        (-0.2, -0.1, "disagrees", "agrees"),
        (-0.1, 0.1, "cannot be decided", "cannot be decided"),
    ],
)
def test_verdicts_need_the_whole_interval_on_one_side(low, high, higher, lower):
    found = Interval(0.0, low, high)
    assert (above(found), below(found)) == (higher, lower)
    assert (above(found, 0.5), below(found, 0.5)) == ("disagrees", "agrees")


def test_a_small_negative_number_is_written_as_zero():
    assert format_interval(Interval(-0.001, -0.123, 0.456)) == "0.00 [-0.12, 0.46]"
