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
