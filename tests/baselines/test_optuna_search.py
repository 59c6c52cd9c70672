"""Searches by Optuna: TPE finds known optima, NSGA-II a front, and neither changes Optuna's logging."""

import numpy as np
import optuna
import pytest
from made_up import MadeUpView

from prune_env.baselines import FrontPoint, NSGA2Search, RandomSearch, TPESearch, pareto_front

BEST = np.linspace(0.1, 0.7, 4)


class Env:
    group_names, max_ratio = tuple("abcd"), 0.8


def valley(widths):
    return -float(np.square(1 - widths / 1000 - BEST).sum())


def test_tpe_finds_the_optimum_of_a_known_landscape():
    found = {}
    for kind in (RandomSearch, TPESearch):
        scores = []
        for seed in range(3):
            policy, view = kind(Env(), evaluations=80), MadeUpView([1000] * 4, retained=valley)
            policy.seed(seed)
            policy.attach(view)
            scores.append(valley(view.widths_at(policy.predict(np.zeros(4))[0])))
            assert len(view.tried) == 80
        found[kind] = np.mean(scores)
    assert found[TPESearch] > max(found[RandomSearch], -0.1)


def front_by_loops(points):
    return sorted(
        (cost, retained)
        for retained, cost in {(p.retained, p.cost) for p in points}
        if not any(
            (p.retained >= retained and p.cost <= cost) and (p.retained > retained or p.cost < cost) for p in points
        )
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_front_against_loops(seed):
    random = np.random.default_rng(seed)
    points = [FrontPoint(np.zeros(1), *random.integers(0, 6, 2)) for _ in range(random.integers(1, 15))]
    assert [(p.cost, p.retained) for p in pareto_front(points)] == front_by_loops(points)


def nsga2(target, **options):
    view = MadeUpView([1000] * 4, retained=lambda w: float(w @ [4, 3, 2, 1]) / 10_000, cost_target=target)
    policy = NSGA2Search(Env(), **options)
    policy.attach(view)
    return policy, view, policy.predict(np.zeros(4))[0]


def test_nsga2_returns_a_front_and_answers_with_its_best_within_the_budget():
    policy, view, ratios = nsga2(2500.0, evaluations=60)
    assert len(view.tried) == 60 and len(policy.front) > 3
    tried = [FrontPoint(np.zeros(4), float(w @ [4, 3, 2, 1]) / 10_000, float(w.sum())) for w, _ in view.tried]
    assert [(p.cost, p.retained) for p in policy.front] == front_by_loops(tried)
    widths = view.widths_at(ratios)
    assert widths.sum() <= 2500
    assert widths @ [4, 3, 2, 1] == max(w @ [4, 3, 2, 1] for w, _ in view.tried if w.sum() <= 2500)
    for point in policy.front:
        assert point.cost == view.widths_at(point.ratios).sum()


def test_without_a_point_within_the_budget_the_cheapest_answers():
    policy, view, ratios = nsga2(900.0, evaluations=10)
    assert view.widths_at(ratios).sum() == policy.front[0].cost == min(w.sum() for w, _ in view.tried) > 900


def test_optunas_logging_is_left_alone():
    before = optuna.logging.get_verbosity()
    nsga2(2000.0, evaluations=4)
    assert optuna.logging.get_verbosity() == before


@pytest.mark.parametrize(("kind", "options"), [(TPESearch, {"random_trials": -1}), (NSGA2Search, {"population": 1})])
def test_options_are_checked(kind, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        kind(Env(), **options)
