import numpy as np
import pytest

from prune_env.benchmark.statistics import Interval
from prune_env.papers.intervals import above, below, over_seeds, written


def test_the_interval_holds_the_mean_and_stays_within_the_seeds():
    values = np.array([[1.0, 0.0], [2.0, 0.0], [6.0, 0.0]])
    found = over_seeds(values)
    assert found.value.tolist() == [3.0, 0.0]
    assert 1.0 <= found.low[0] < 3.0 < found.high[0] <= 6.0
    assert (found.low[1], found.high[1]) == (0.0, 0.0)
    assert [part.tolist() for part in over_seeds(values)] == [part.tolist() for part in found]


def test_a_function_of_the_mean_is_resampled_as_a_whole():
    curves = np.array([[1.0, 0.5], [0.0, 1.0], [0.5, 0.75]])  # each of another maximum than their mean
    found = over_seeds(curves, lambda mean: mean.max(axis=1))
    assert found.value == 0.75
    assert found.low < 0.75 < found.high == 1.0


def test_two_seeds_decide_nothing():
    found = over_seeds([1.0, 1.0])
    assert found.value == 1.0 and np.isnan(found.low) and np.isnan(found.high)
    assert above(found) == below(found) == "cannot be decided"
    assert written(found) == "1.00"


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
    assert written(Interval(-0.001, -0.123, 0.456)) == "0.00 [-0.12, 0.46]"
