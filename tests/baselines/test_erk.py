"""ERK in channels: densities by hand, the budget, and an independent solution by bisection."""

import numpy as np
import pytest
from made_up import MadeUpView

from prune_env.baselines import ERK, erk_density


def test_densities_by_hand():
    assert erk_density((2, 3)) == (2 + 3) / 6
    assert erk_density((4, 2, 3, 3)) == (4 + 2 + 3 + 3) / (4 * 2 * 9)
    assert erk_density((4, 2, 3, 3), kernel=False) == 6 / 8
    assert erk_density((5,)) == erk_density(()) == 1.0


class Env:
    group_names, max_ratio = ("g0", "g1"), 0.875


def ratios_of(view, **options):
    policy = ERK(Env(), **options)
    policy.attach(view)
    return policy.predict(np.zeros(2))[0]


def test_shares_by_hand():
    """Densities 18/24 and 10/24 on four channels each: within a cost of 5 the first keeps 3, the second 2."""
    shapes = ((4, 2), (4, 2, 3, 1))
    assert [erk_density(shape) for shape in shapes] == [6 / 8, 10 / 24]
    view = MadeUpView([4, 4], cost_target=5.0, shapes=shapes)
    assert view.widths_at(ratios_of(view)).tolist() == [3, 2]
    view.cost_target = 8.0
    assert ratios_of(view).tolist() == [0.0, 0.0]
    assert view.tried == []


def kept(epsilon, widths, density):
    shares = [min(1, max(0.125, epsilon * d)) for d in density]
    return [int(np.floor(w * share + 0.5)) for w, share in zip(widths, shares, strict=True)]


def test_against_a_bisection():
    """The largest epsilon whose widths fit, found independently."""
    random = np.random.default_rng(0)
    for _ in range(20):
        widths = random.integers(20, 100, 2)
        readers = random.integers(2, 60, 2)
        shapes = tuple((int(w), int(n), k, k) for w, n, k in zip(widths, readers, (1, 3), strict=True))
        target = float(random.uniform(0.2, 0.9) * widths.sum())
        view = MadeUpView(widths, cost_target=target, shapes=shapes)
        density = [(a + b + c + d) / (a * b * c * d) for a, b, c, d in shapes]
        low, high = 0.0, 1 / min(density)
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if sum(kept(middle, widths, density)) <= target else (low, middle)
        assert view.widths_at(ratios_of(view)).sum() == sum(kept(low, widths, density))


def test_it_ends_at_the_budget_of_a_real_network(env):
    observation, _ = env.reset(seed=0)
    view, policy = env.view, ERK(env)
    policy.attach(view)
    ratios, _ = policy.predict(observation)
    assert 0.9 * view.cost_target < view.cost_of(view.widths_at(ratios)) <= view.cost_target
    assert view.trial_cuts == 0
    assert len(view.root_shapes) == 3 and all(
        shape[0] == w for shape, w in zip(view.root_shapes, view.widths, strict=True)
    )


def test_options_are_checked():
    with pytest.raises(ValueError, match="kernel must be True or False"):
        ERK(Env(), kernel=1)
