"""Objectives by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from prune_env.envs.objectives import OBJECTIVES, Terms, make_objective, register_objective

TERMS = Terms(
    retained=0.8,
    costs={"parameters": 500.0, "macs": 1000.0, "cents": 7.0},
    sparsities={"parameters": 0.5, "macs": 0.4, "cents": 0.3},
    budget=0.6,
    budget_unit="cents",
)


@pytest.mark.parametrize(
    ("name", "options", "value"),
    [
        ("area", {}, 0.4),
        ("budget", {}, 0.8 * 0.5),
        ("floor", {"retained": 0.7}, 0.5),
        ("floor", {"retained": 0.9}, -0.1),
        ("keep", {"retained": 0.8}, 0.3),
        ("keep", {"retained": 0.75}, 0.3),
        ("keep", {}, 0.3 - 10 * 0.15),
        ("keep", {"retained": 0.9, "penalty": 2}, 0.3 - 2 * 0.1),
        ("weighted", {}, 1.3),
        ("weighted", {"retained": 2.0, "sparsity_macs": 0.5}, 1.8),
        ("amc", {}, -0.2 * math.log(1000.0)),
    ],
)
def test_potentials_by_hand(name, options, value):
    assert make_objective(name, options)(TERMS) == pytest.approx(value)


def test_every_objective_has_a_case_above():
    assert set(OBJECTIVES) == {"area", "budget", "floor", "keep", "weighted", "amc", "vector"}


def test_vector():
    assert np.array_equal(make_objective("vector")(TERMS), [0.8, 0.5])


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="area, budget, floor, keep, weighted, amc, vector"):
        make_objective("speed")
    with pytest.raises(ValueError, match="latency"):
        make_objective("weighted", {"latency": 1.0})(TERMS)
    with pytest.raises(ValueError, match="does not take"):
        make_objective("area", {"weight": 1.0})


def test_terms_by_name():
    assert TERMS.asdict() == {
        "retained": 0.8,
        "sparsity": 0.5,
        "sparsity_macs": 0.4,
        "sparsity_cents": 0.3,
        "budget": 0.6,
        "budget_sparsity": 0.3,
        "macs": 1000.0,
        "cents": 7.0,
    }


@pytest.mark.parametrize(
    ("name", "options"),
    [("floor", {"retained": 2.0}), ("floor", {"retained": math.nan}), ("weighted", {"retained": math.inf})],
)
def test_options_out_of_range_are_refused(name, options):
    with pytest.raises(ValueError, match="must be"):
        make_objective(name, options)


def test_an_objective_is_registered_once(monkeypatch):
    monkeypatch.setattr("prune_env.envs.objectives.OBJECTIVES", dict(OBJECTIVES))
    register_objective("half", lambda: lambda terms: terms.retained / 2)
    assert make_objective("half")(TERMS) == 0.4
    with pytest.raises(ValueError, match="objective 'area' is already registered"):
        register_objective("area", lambda: None)


def test_more_than_the_budget_earns_no_more_than_the_budget():
    beyond = replace(TERMS, budget=0.2)  # 0.3 of the cents are gone
    assert make_objective("budget")(beyond) == 0.8
    assert make_objective("budget")(replace(TERMS, budget=0.3)) == 0.8


def test_keep_pays_for_sparsity_only_where_the_score_is_kept():
    """With the slope of the score beyond 1 / penalty, the best point is where R is just enough."""

    def phi(sparsity):
        retained = 1.0 - 0.5 * sparsity
        return make_objective("keep", {"retained": 0.8})(
            replace(TERMS, retained=retained, sparsities={"cents": sparsity})
        )

    grid = np.linspace(0, 1, 101)
    assert grid[int(np.argmax([phi(sparsity) for sparsity in grid]))] == pytest.approx(0.4)


@pytest.mark.parametrize("options", [{"retained": 2}, {"retained": "much"}, {"penalty": 0}, {"penalty": -1.0}])
def test_options_of_keep_are_checked(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} of the objective 'keep' must be"):
        make_objective("keep", options)
