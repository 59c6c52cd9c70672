"""LAMP in channels: scores by hand and against a loop, and the threshold over them."""

import numpy as np
import pytest

from prune_env.baselines import LAMP, lamp_scores


def test_scores_by_hand():
    """Group 0: 1/14, 4/13, 9/9. Group 1 has two equal channels, of which the earlier has half, and an empty one."""
    scores = lamp_scores(np.array([1.0, 2.0, 3.0, 10.0, 10.0, 0.0, 1e-30]), np.array([0, 0, 0, 1, 1, 1, 2]))
    assert scores == pytest.approx([1 / 14, 4 / 13, 1, 1 / 2, 1, 0, 1])


def loop(magnitude, group_of):
    """Equation 3 word by word: sorted weights, each squared over the sum of squares of it and what is larger."""
    scores = np.empty(len(magnitude))
    for g in np.unique(group_of):
        members = sorted(np.flatnonzero(group_of == g), key=lambda c: (magnitude[c], c))
        for place, channel in enumerate(members):
            rest = sum(magnitude[c] ** 2 for c in members[place:])
            scores[channel] = magnitude[channel] ** 2 / rest if rest else float(place == len(members) - 1)
    return scores


def test_against_a_loop_at_any_scale():
    random = np.random.default_rng(0)
    for _ in range(30):
        sizes = random.integers(1, 12, 5)
        group_of = np.repeat(np.arange(5), sizes)
        scale = 10.0 ** random.integers(-12, 12, 5)
        magnitude = np.abs(random.normal(size=len(group_of))).round(1) * scale[group_of]
        np.testing.assert_allclose(lamp_scores(magnitude, group_of), loop(magnitude, group_of), rtol=1e-9)


class View:
    """Groups of 2 and 4 channels; the cost is the number of channels."""

    widths, least_widths = np.array([2, 4]), np.array([1, 1])
    group_of = np.array([0, 0, 1, 1, 1, 1])
    cost_target = 4

    def scores(self, criterion):
        assert criterion == "l2"
        return np.array([10.0, 30.0, 1.0, 2.0, 3.0, 4.0])  # LAMP: 0.1, 1; 1/30, 4/29, 9/25, 1

    def cost_of(self, widths):
        return np.asarray(widths).sum(-1)


def test_the_lowest_scores_go(env):
    policy = LAMP(env)
    policy.attach(View())
    assert policy.predict(np.zeros(3))[0] == pytest.approx([0.5, 0.25])  # 1/30 and 0.1


def test_no_scale_of_a_group_matters(env):
    observation, _ = env.reset(seed=0)
    view, policy = env.view, LAMP(env)
    policy.attach(view)
    before = policy.predict(observation)[0]
    real = view.scores

    class Scaled:
        def __getattr__(self, name):
            return getattr(view, name)

        def scores(self, criterion):
            return real(criterion) * np.array([1.0, 1e6, 1e-6])[view.group_of]

    policy.attach(Scaled())
    np.testing.assert_array_equal(policy.predict(observation)[0], before)
    assert view.trial_cuts == 0 and view.cost_of(view.widths_at(before)) <= view.cost_target


def test_the_criterion_is_checked(env):
    with pytest.raises(ValueError, match="unknown criterion 'random'"):
        LAMP(env, criterion="random")
