"""AMC: its states and bounded actions by hand, its replay buffer and noise, and that it learns."""

import numpy as np
import pytest
import torch
from made_up import MadeUpView
from scipy.stats import truncnorm
from stable_baselines3.common.env_checker import check_env
from torch import nn

from prune_env.baselines import AMC, GroupwiseEnv
from prune_env.baselines.amc_ddpg import EpisodeRewards, LayerwiseDDPG
from prune_env.baselines.amc_environment import FEATURES


class LayeredView(MadeUpView):
    """A chain of two convolutions and a linear layer as the view shows it."""

    roots = ("0", "1", "2")

    def __init__(self, **options):
        shapes = ((8, 3, 3, 3), (4, 8, 1, 1), (10, 4))
        super().__init__([8, 4, 10], shapes=shapes, **options)

    def copy_model(self):
        return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 4, 1), nn.Linear(4, 10))


def made(target=11.0, least=0.1, **options):
    return GroupwiseEnv(LayeredView(**options), target, least)


def test_states_by_hand():
    """22 channels cost 1 each; least widths are 1: what hangs on the groups is 7, 3 and 9 of 22."""
    env = made(target=22.0)
    state, _ = env.reset(seed=0)
    first = dict(zip(FEATURES, state.tolist(), strict=True))
    assert first == pytest.approx(
        {"t": 0, "n": 4 / 6, "c": 0, "stride": 1, "k": 1, "weights": 1, "cost": 4 / 6, "reduced": 0,
         "rest": 12 / 22, "previous": 1}, abs=1e-6,
    )  # fmt: skip
    state, reward, over, _, info = env.step(np.array([0.5]))
    second = dict(zip(FEATURES, state.tolist(), strict=True))
    assert second["t"] == 0.5 and (second["n"], second["c"], second["stride"], second["k"]) == (0, 1, 0, 0)
    assert (second["reduced"], second["rest"], second["previous"]) == pytest.approx((4 / 22, 9 / 22, 0.5))
    assert (reward, over, info["width"]) == (0.0, False, 4)


def test_actions_are_bounded_so_that_the_rest_can_still_meet_the_target():
    """Target 11 of 22: with the others at 1, the first may keep 9, so all 8; then 11 - 8 - 1 = 2 of 4, then 1."""
    env = made(target=11.0)
    env.reset()
    widths = [env.step(np.array([1.0]))[-1]["width"] for _ in range(3)]
    assert widths == [8, 2, 1]
    env.reset()
    widths = [env.step(np.array([0.1]))[-1]["width"] for _ in range(3)]
    assert widths == [1, 1, 1]


def test_the_reward_is_the_retained_score_at_the_end():
    rewards = []
    view = LayeredView(retained=lambda w: float(w[2]))
    env = GroupwiseEnv(view, 15.0, 0.1, lambda widths, reward: rewards.append((widths.tolist(), reward)))
    for _ in range(2):
        env.reset()
        steps = [env.step(np.array([share])) for share in (0.25, 0.5, 1.0)]
        assert [(reward, over) for _, reward, over, _, _ in steps] == [(0.0, False), (0.0, False), (10.0, True)]
    assert rewards == [([2, 2, 10], 10.0)] * 2 and len(view.tried) == 2


def test_no_widths_beyond_the_target_whatever_the_actions():
    random = np.random.default_rng(0)
    for target in (3.0, 5.0, 14.0):
        view = LayeredView(cost=lambda w: 3 * w[..., 0] + w[..., 0] * w[..., 1] + w[..., 2])
        env = GroupwiseEnv(view, target + 2, 0.1)
        for _ in range(20):
            env.reset()
            for _ in range(3):
                env.step(random.random(1))
        assert all(view.cost_of(widths) <= target + 2 for widths, _ in view.tried)


def test_it_is_an_environment():
    check_env(made(), warn=True)


def agent(warmup=2):
    env = made(target=15.0)
    return LayerwiseDDPG(env, warmup, seed=0)


def test_all_steps_of_an_episode_get_its_reward_and_batches_a_baseline():
    model = agent()
    buffer = model.replay_buffer
    assert isinstance(buffer, EpisodeRewards)
    one = np.zeros((1, len(FEATURES)), dtype=np.float32)
    for episode, reward in enumerate((2.0, 6.0)):
        for step in range(3):
            assert buffer.size() == 3 * episode
            last = step == 2
            buffer.add(one, one, np.zeros((1, 1)), np.array([reward if last else 0.0]), np.array([last]), [{}])
    assert buffer.rewards[:6, 0].tolist() == [2, 2, 2, 6, 6, 6]
    assert buffer.dones[:6, 0].tolist() == [0, 0, 1, 0, 0, 1]
    first = buffer.sample(64).rewards
    assert float(first.mean()) == pytest.approx(0.0, abs=1e-5)  # the average starts at the first batch's mean
    before = buffer.baseline
    raw = buffer.sample(64).rewards + buffer.baseline
    assert buffer.baseline == pytest.approx(before + 0.5 * (float(raw.mean()) - before), abs=1e-5)


def test_settings_are_the_papers():
    model = agent(warmup=5)
    assert (model.tau, model.batch_size, model.gamma, model.buffer_size) == (0.01, 64, 1.0, 2000)
    assert (model.learning_starts, model.gradient_steps) == (15, -1)
    widths = [layer.out_features for layer in model.actor.mu if isinstance(layer, nn.Linear)]
    assert widths == [300, 300, 1]
    model.learn(18)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in (model.actor.optimizer, model.critic.optimizer)]
    assert rates == [1e-4, 1e-3] and model._n_updates == 3  # one for each step of the first episode after the warm-up


def test_the_noise_is_a_truncated_normal_that_fades():
    model = agent(warmup=2)
    model.learn(6)
    assert model.sigma == 0.5
    drawn = np.array([model._sample_action(6)[0][0, 0] for _ in range(3000)])
    mean, _ = model.predict(model._last_obs)
    wanted = truncnorm((0.1 - mean.item()) / 0.5, (1 - mean.item()) / 0.5, loc=mean.item(), scale=0.5)
    assert (drawn.mean(), drawn.std()) == pytest.approx((wanted.mean(), wanted.std()), abs=0.03)
    assert drawn.min() >= 0.1 and drawn.max() <= 1
    model.num_timesteps = 3 * (2 + 10)
    assert model.sigma == pytest.approx(0.5 * 0.95**10)


class Env:
    group_names, max_ratio = ("a", "b", "c"), 0.9


def test_it_learns_which_group_to_keep_and_draws_by_its_seed():
    """Only channels of the last group are worth something; episodes get better, and the best one is the answer."""

    def search(seed):
        view = LayeredView(retained=lambda w: float(w[2]) / 10, cost_target=13.0)
        policy = AMC(Env(), episodes=60, warmup=20)
        policy.seed(seed)
        policy.attach(view)
        before = torch.get_rng_state()
        ratios, _ = policy.predict(np.zeros(3))
        assert torch.equal(before, torch.get_rng_state()) and len(view.tried) == 60
        return ratios, [view._retained(w) for w, _ in view.tried], view

    ratios, scores, view = search(0)
    assert np.mean(scores[-20:]) > np.mean(scores[:20]) + 0.2
    assert view._retained(view.widths_at(ratios)) == max(scores)
    np.testing.assert_array_equal(ratios, search(0)[0])
    assert scores != search(1)[1]


def test_episodes_are_trial_cuts_within_the_budget(env):
    observation, _ = env.reset(seed=0)
    policy = AMC(env, episodes=4, warmup=2)
    policy.attach(env.view)
    policy.predict(observation)
    assert env.episode.trial_cuts == 4 and all(trial.counts for trial in env.episode.trials)


@pytest.mark.parametrize("options", [{"episodes": 0}, {"warmup": -1}])
def test_options_are_checked(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        AMC(Env(), **options)
