"""Actions as log-speeds: their formula, their inverse, and that the projection turns a shift into nothing."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from prune_env.envs import LogRatioAction
from prune_env.envs.action import project
from prune_env.envs.log_ratio import actions_of, ratios_of


def test_ratios_by_hand():
    # action 1: the largest ratio; 0.2: speed exp(2.5 * -0.8) = exp(-2); -1: speed exp(-5)
    expected = [0.95, 1 - 0.05 ** np.exp(-2), 1 - 0.05 ** np.exp(-5)]
    np.testing.assert_allclose(ratios_of(np.array([1.0, 0.2, -1.0]), 0.95), expected)


def test_actions_are_found_again():
    actions = np.linspace(-1, 1, 21)
    np.testing.assert_allclose(actions_of(ratios_of(actions, 0.9), 0.9), actions, atol=1e-12)
    np.testing.assert_array_equal(actions_of(np.array([0.0, 0.9]), 0.9), [-1.0, 1.0])


@pytest.mark.parametrize("shift", [-0.4, 0.3])
def test_a_shift_of_all_actions_changes_nothing_under_a_budget(shift):
    widths, actions = np.array([400, 300, 500]), np.array([-0.3, 0.1, 0.5])

    def widths_of(actions):
        ratios = ratios_of(actions, 0.95)
        return project(ratios, widths, lambda w: np.asarray(w).sum(-1), 600.0, np.ones(3, dtype=int))

    np.testing.assert_allclose(widths_of(actions + shift), widths_of(actions), atol=1)


def test_the_wrapped_environment_is_a_gymnasium_environment():
    env = gym.make("PruneEnv/Autoencoder-v0", latent_dim=4, dense_steps=120, learning_rate=0.005, steps_per_round=1)
    wrapped = LogRatioAction(env)
    assert wrapped.action_space.low.min() == -1.0 and wrapped.action_space.high.max() == 1.0
    check_env(wrapped, skip_render_check=True)
    wrapped.reset(seed=0)
    *_, info = wrapped.step(np.ones(wrapped.action_space.shape, dtype=np.float32))
    widths = wrapped.unwrapped.network.grouping.widths
    np.testing.assert_array_equal(info["channels"], np.maximum(np.floor(widths * 0.05 + 0.5), 1))
