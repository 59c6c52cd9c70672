"""Records: checked field by field, with numbers by name."""

import numpy as np
import pytest


@pytest.mark.parametrize("field", ["retained", "retained_test", "score_test", "wall_s"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("-inf")])
def test_a_number_that_is_not_finite_raises(make_result, field, value):
    with pytest.raises(ValueError, match=f"{field} must be a .*number"):
        make_result(**{field: value})


def test_a_ratio_that_is_not_finite_raises(make_result):
    with pytest.raises(ValueError, match=r"ratios\[.latent.\] must be .* got nan"):
        make_result(ratios={"latent": float("nan")})


@pytest.mark.parametrize("budget", [0.0, 1.0, -0.1, float("nan")])
def test_a_budget_outside_0_1_raises(make_result, budget):
    with pytest.raises(ValueError, match="budget must be a number in"):
        make_result(budget=budget)


def test_numbers_are_known_by_the_names_that_rewards_use(make_result):
    result = make_result(sparsities={"parameters": 0.5, "macs": 0.4, "latency": 0.1}, budget_unit="latency")
    numbers = result.numbers()
    assert (numbers["sparsity"], numbers["sparsity_macs"], numbers["sparsity_latency"]) == (0.5, 0.4, 0.1)
    assert numbers["budget_sparsity"] == result.budget_sparsity == 0.1
    assert numbers["collapsed"] == 0.0 and numbers["trial_cuts"] == 0


def test_the_cost_of_the_budget_must_be_on_record(make_result):
    with pytest.raises(ValueError, match="sparsities must name the cost 'latency'"):
        make_result(budget_unit="latency")


@pytest.mark.parametrize(
    "best",
    [
        [(0, 0.1)],  # trials are counted from 1
        [(3, 0.1)],  # there are two
        [(1, 0.1), (1, 0.2)],
        [(1, 0.2), (2, 0.1)],
        [(1, float("nan"))],
        [(1,)],
        [1, 2],
        {"1": 0.1},
        [(1, "much")],
        7,
    ],
)
def test_anytime_curves_ascend_within_the_trials(make_result, best):
    with pytest.raises(ValueError, match="best_trials"):
        make_result(trial_cuts=2, best_trials=best)


def test_anytime_curves_are_kept_as_tuples(make_result):
    assert make_result(trial_cuts=2, best_trials=[[1, 0.1], [2, 0.3]]).best_trials == ((1, 0.1), (2, 0.3))
    assert make_result(trial_steps=60).numbers()["trial_steps"] == 60
