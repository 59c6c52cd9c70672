"""Soft coefficients: which points of the grid qualify, the gates and their slopes, and the descent on the budget."""

import itertools

import numpy as np
import pytest
from made_up import MadeUpView

from prune_env.baselines import SoftGradient, SoftGrid
from prune_env.baselines.soft_coefficients import channel_ranks, soft_gates


class Env:
    group_names, max_ratio = ("a", "b", "c"), 0.9


def attached(kind, view, **options):
    policy = kind(Env(), **options)
    policy.attach(view)
    return policy


# ---------------------------------------------------------------------- grid
def test_every_point_within_the_tolerance_is_tried():
    view = MadeUpView([100] * 3, retained=lambda w: float(w @ [3, 2, 1]), cost_target=150.0)
    policy = attached(SoftGrid, view, evaluations=1000, points=4, tolerance=0.11)
    ratios, _ = policy.predict(np.zeros(3))
    on_grid = [w for w in itertools.product((100, 70, 40, 10), repeat=3) if 150 - 33 <= sum(w) <= 150]
    assert sorted(tuple(w) for w, _ in view.tried) == sorted(on_grid)
    assert tuple(view.widths_at(ratios)) == max(on_grid, key=lambda w: np.dot(w, [3, 2, 1]))


def test_no_more_points_are_tried_than_allowed_and_the_seed_draws_them():
    tried = []
    for seed in (0, 0, 1):
        view = MadeUpView([100] * 3, cost_target=150.0)
        policy = attached(SoftGrid, view, evaluations=5, points=8, tolerance=0.1)
        policy.seed(seed)
        policy.predict(np.zeros(3))
        tried.append([tuple(w) for w, _ in view.tried])
    assert tried[0] == tried[1] != tried[2] and len(set(tried[0])) == 5


def test_where_no_point_qualifies_the_next_one_below_is_used():
    view = MadeUpView([100] * 3, cost_target=150.0)
    ratios, _ = attached(SoftGrid, view, points=2, tolerance=0.01).predict(np.zeros(3))
    assert sorted(view.widths_at(ratios)) == [10, 10, 100] and len(view.tried) == 1


# ---------------------------------------------------------------------- gradient
def test_ranks_and_gates_by_hand():
    group_of = np.array([0, 0, 0, 0, 1])
    ranks = channel_ranks(np.array([0.2, 0.9, 0.9, 0.1, 7.0]), group_of)
    assert ranks.tolist() == [2, 0, 1, 3, 0]
    gates, slopes = soft_gates(np.array([0.5, 1.0]), ranks, group_of, np.array([4.0, 1.0]), ramp=1.0)
    # k C = 2, b = 2: (2 - rank - 0.5) / 2 + 0.5, whose slope at k = 1/2 is C / b
    assert gates.tolist() == [0.25, 1.0, 0.75, 0.0, 1.0]
    assert slopes.tolist() == [2.0, 0.0, 2.0, 0.0, 0.0]


@pytest.mark.parametrize("ramp", [0.1, 0.5, 1.0])
def test_gates_open_one_after_another(ramp):
    group_of, ranks = np.repeat([0, 1], [40, 3]), np.r_[np.arange(40), np.arange(3)]
    present = np.array([40.0, 3.0])

    def gates(kept):
        return soft_gates(np.full(2, kept), ranks, group_of, present, ramp)[0]

    assert (gates(1.0) == 1).all() and (gates(0.0) == 0).all()
    for kept in np.linspace(0.05, 0.95, 19):
        assert np.bincount(group_of, gates(kept)) == pytest.approx(kept * present, abs=0.51)
        slopes = soft_gates(np.full(2, kept), ranks, group_of, present, ramp)[1]
        numeric = (gates(kept + 1e-6) - gates(kept - 1e-6)) / 2e-6
        inside = (gates(kept) > 1e-3) & (gates(kept) < 1 - 1e-3)
        np.testing.assert_allclose(slopes[inside], numeric[inside], rtol=1e-4)


class GatedView(MadeUpView):
    """A loss that is quadratic in the open share of every group: sum of worth * (1 - open share)^2."""

    worth = np.array([8.0, 2.0, 1.0])
    calls = 0

    def scores(self, criterion):
        return np.random.default_rng(0).random(len(self.group_of))

    def gated_loss(self, gates):
        self.calls += 1
        closed = 1 - np.bincount(self.group_of, gates) / self.widths
        gradient = -2 * (self.worth * closed / self.widths)[self.group_of]
        return float(self.worth @ closed**2), gradient


def test_the_descent_ends_where_the_constrained_optimum_is():
    """With equal costs the closed shares are as 1 / worth (Lagrange), here of 1.5 in all, and bounded by 0.9."""
    view = GatedView([200] * 3, cost_target=300.0)
    ratios, _ = attached(SoftGradient, view, iterations=300, rate=0.05).predict(np.zeros(3))
    closed = 1 - view.widths_at(ratios) / 200
    rest = 1.5 - 0.9  # the third group is at its bound: 8 a = 2 b, a + b = 0.6
    np.testing.assert_allclose(closed, [0.2 * rest, 0.8 * rest, 0.9], atol=0.04)
    assert view.calls == 300 and view.tried == []


def test_it_weighs_what_a_channel_costs():
    """Groups of equal worth: the one whose channels cost four times as much loses more."""
    view = GatedView([200] * 3, cost_target=600.0, cost=lambda w: w @ np.array([4, 1, 1]))
    view.worth = np.ones(3)
    ratios, _ = attached(SoftGradient, view, iterations=300, rate=0.05).predict(np.zeros(3))
    kept = view.widths_at(ratios)
    assert 550 < view.cost_of(kept) <= 600
    closed = 1 - kept / 200
    np.testing.assert_allclose(closed, [2 / 3, 1 / 6, 1 / 6], atol=0.08)  # closed_g as its cost: 200 * (4c + .5c) = 600


def test_gradients_are_counted_as_training_steps(env):
    observation, _ = env.reset(seed=0)
    view = env.view
    policy = SoftGradient(env, iterations=4)
    policy.attach(view)
    ratios, _ = policy.predict(observation)
    assert env.episode.trial_cuts == 0 and env.episode.trial_steps == 4
    assert 0.9 * view.cost_target < view.cost_of(view.widths_at(ratios)) <= view.cost_target


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (SoftGrid, {"evaluations": 0}),
        (SoftGrid, {"points": 1}),
        (SoftGrid, {"tolerance": 0.0}),
        (SoftGradient, {"iterations": 0}),
        (SoftGradient, {"rate": 0.0}),
        (SoftGradient, {"ramp": 2.0}),
    ],
)
def test_options_are_checked(kind, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        kind(Env(), **options)
    with pytest.raises(ValueError, match="unknown criterion"):
        SoftGradient(Env(), criterion="random")
