"""The privileged global threshold: by hand on a network made up, and on a real one."""

import numpy as np
import pytest

from prune_env.baselines import THRESHOLDS, GlobalThreshold

ALL = list(THRESHOLDS.values())


class View:
    """Two groups of 2 and 4 channels whose scores differ by a factor of ten; the cost is the number of channels."""

    widths = np.array([2, 4])
    least_widths = np.array([1, 1])
    group_of = np.array([0, 0, 1, 1, 1, 1])

    def __init__(self, cost_target):
        self.cost_target = cost_target

    def scores(self, criterion):
        assert criterion == "l2"
        return np.array([10.0, 30.0, 1.0, 2.0, 3.0, 4.0])  # over the mean: 0.5, 1.5 and 0.4, 0.8, 1.2, 1.6

    def cost_of(self, widths):
        return np.asarray(widths).sum(-1)


@pytest.mark.parametrize(
    ("normalise", "target", "kept"),
    [
        (False, 6, [2, 4]),
        (False, 4, [2, 2]),  # 1 and 2 go
        (False, 3, [2, 1]),
        (False, 2, [1, 1]),  # the fourth of group 1 must stay, so 10 goes
        (True, 5, [2, 3]),  # 0.4 goes
        (True, 4, [1, 3]),  # and 0.5
        (True, 3, [1, 2]),  # and 0.8
        (False, None, [2, 1]),  # without a budget half of the cost goes
        (True, None, [1, 2]),
    ],
)
def test_ratios_of_a_made_up_network_by_hand(env, normalise, target, kept):
    policy = GlobalThreshold(env, "l2", normalise)
    policy.attach(View(target))
    ratios, state = policy.predict(np.zeros(3), state="kept")
    np.testing.assert_allclose(ratios, 1 - np.array(kept) / [2, 4], rtol=1e-6)
    assert ratios.dtype == np.float32 and state == "kept"


def test_a_ratio_never_exceeds_the_bound(env):
    policy = GlobalThreshold(env, "l2", False)
    policy.max_ratio = 0.3
    policy.attach(View(2))
    assert policy.predict(np.zeros(3))[0].tolist() == pytest.approx([0.3, 0.3])


@pytest.mark.parametrize("make", ALL)
def test_predict_needs_an_attached_network(env, make):
    policy = make(env)
    assert policy.privileged and not policy.learned
    with pytest.raises(RuntimeError, match="attach"):
        policy.predict(env.reset(seed=0)[0])


@pytest.mark.parametrize("make", ALL)
def test_the_widths_of_the_threshold_are_the_widths_of_the_cut(env, make):
    observation, _ = env.reset(seed=0)
    before, policy = env.view.widths, make(env)
    policy.attach(env.view)
    ratios, _ = policy.predict(observation)
    wanted = np.round(before * (1 - ratios))
    assert env.view.cost_of(wanted) <= env.view.cost_target
    _, _, _, _, info = env.step(ratios)
    assert env.episode.trial_cuts == 0
    assert np.abs(info["channels"] - wanted).max() <= 1  # the budget's projection gives slack back


def test_the_scale_of_a_group_counts_only_in_the_raw_threshold(env):
    observation, _ = env.reset(seed=0)
    answers = []
    for make in (THRESHOLDS["global-fisher"], THRESHOLDS["global-fisher-rel"]):
        policy = make(env)
        policy.attach(env.view)
        answers.append(policy.predict(observation)[0])
    assert np.ptp(answers[0]) > np.ptp(answers[1])


def test_looking_leaves_the_network_as_it_was(env):
    observation, _ = env.reset(seed=0)
    model = env.network.train_state.model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    policy = THRESHOLDS["global-fisher"](env)
    policy.attach(env.view)
    policy.predict(observation)
    assert all(np.array_equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"criterion": "l3"}, "unknown criterion 'l3'"),
        ({"relative": 1}, "relative must be True or False"),
        ({"amount": 1.0}, r"amount must be a number in \(0, 1\)"),
    ],
)
def test_options_are_checked_where_they_are_given(env, options, message):
    with pytest.raises(ValueError, match=message):
        GlobalThreshold(env, **options)
