"""Sensitivity curves, their files, and the policy that shares out a budget by them."""

import csv

import numpy as np
import pytest
from made_up import MadeUpView

from prune_env.baselines import Knapsack, Sensitivity, knapsack, measure_sensitivity, write_sensitivity


def test_one_group_at_a_time_by_hand():
    view = MadeUpView([4, 2], retained=lambda w: 1.0 - 0.1 * (4 - w[0]) - 0.3 * (2 - w[1]))
    ticks = []
    curves = measure_sensitivity(view, points=2, max_ratio=0.5, on_trial=lambda: ticks.append(1))
    assert [w.tolist() for w, _ in view.tried] == [[4, 2], [3, 2], [2, 2], [4, 1]]  # of 1.5 and 1 channels: 2 and 1
    assert curves.widths.tolist() == [[3, 2], [2, 1]]
    assert curves.retained == pytest.approx(np.array([[0.9, 0.8], [1.0, 0.7]]))
    assert curves.untouched == 1.0 and len(ticks) == 5
    assert curves.ratios.tolist() == [[0.25, 0.5], [0.0, 0.5]]


def test_damage_is_linear_between_points_and_never_falls():
    curves = Sensitivity(("a",), np.array([8]), np.array([[6, 4, 2]]), np.array([[0.9, 0.95, 0.5]]), 1.0)
    assert curves.damage(0, np.array([8, 7, 6, 5, 4, 3, 2])) == pytest.approx([0, 0.05, 0.1, 0.1, 0.1, 0.3, 0.5])


def test_every_trial_on_a_real_network_is_counted(env):
    env.reset(seed=0)
    curves = measure_sensitivity(env.view, points=2)
    assert env.episode.trial_cuts == 1 + len({(g, w) for g, row in enumerate(curves.widths) for w in row}) == 7
    assert curves.groups == env.group_names and np.isfinite(curves.retained).all()


def test_the_policy_spends_the_budget_where_it_hurts_least():
    """Channels of the first group cost as much as those of the second, and are worth nothing."""
    view = MadeUpView([10, 10], retained=lambda w: float(w[1] / 10), cost_target=12.0)

    class Env:
        group_names, max_ratio = ("g0", "g1"), 0.8

    policy = Knapsack(Env(), points=4, levels=9)
    policy.attach(view)
    ratios, _ = policy.predict(np.zeros(2))
    assert ratios == pytest.approx([0.8, 0.0])
    assert len(view.tried) == 9


def test_the_policy_is_the_knapsack_of_its_curves(env):
    observation, _ = env.reset(seed=0)
    policy = Knapsack(env, points=2, levels=5)
    policy.attach(env.view)
    ratios, _ = policy.predict(observation)
    curves = measure_sensitivity(env.view, points=2, max_ratio=env.max_ratio)
    view = env.view
    at = np.array([view.widths_at(np.full(3, r)) for r in np.linspace(0, env.max_ratio, 5)])
    levels = [np.array(sorted(set(column.tolist()))) for column in at.T]
    damage = [np.interp(options, *_curve(curves, g)) for g, options in enumerate(levels)]
    wanted = knapsack(levels, damage, view.cost_of, view.cost_target)
    np.testing.assert_array_equal(view.widths_at(ratios), wanted)
    assert view.cost_of(wanted) <= view.cost_target


def _curve(curves, g):
    """Widths ascending and the damage there, by a loop."""
    points, worst = [(int(curves.present[g]), 0.0)], 0.0
    for width, retained in zip(curves.widths[g], curves.retained[g], strict=True):
        worst = max(worst, curves.untouched - retained)
        points.append((int(width), worst))
    return zip(*sorted(points), strict=True)


def test_files_hold_every_point(tmp_path):
    names = ("a|b", "=c")
    curves = Sensitivity(names, np.array([4, 8]), np.array([[2], [6]]), np.array([[0.9], [0.5]]), 1.0)
    paths = write_sensitivity(tmp_path, [("seed=0", curves), ("seed=1", curves)])
    assert [path.name for path in paths] == [f"sensitivity.{end}" for end in ("csv", "md", "png", "svg")]
    rows = list(csv.DictReader(paths[0].open()))
    assert [(r["network"], r["group"], r["kept"], r["lost"]) for r in rows] == [
        (seed, group, kept, lost)
        for seed in ("seed=0", "seed=1")
        for group, kept, lost in (("a|b", "2", "0.1"), ("'=c", "6", "0.5"))
    ]
    text = paths[1].read_text()
    assert text.index("=c") < text.index("a\\|b") and "mean over 2 networks" in text
    with pytest.raises(ValueError, match="one or more networks"):
        write_sensitivity(tmp_path, [])


@pytest.mark.parametrize("options", [{"points": 0}, {"levels": 1}, {"steps": -1}, {"amount": 0.0}])
def test_options_are_checked(env, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        Knapsack(env, **options)
