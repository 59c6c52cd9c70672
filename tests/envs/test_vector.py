"""Vector rewards in vector environments keep all their numbers."""

import gymnasium as gym
import numpy as np
import pytest

from prune_env.envs import SyncVectorRewardEnv


def test_every_environment_gets_its_own_vector_as_alone(make):
    def made():
        return make(objective="vector", rounds=2, stop_on_collapse=False).unwrapped

    alone = made()
    envs = SyncVectorRewardEnv([made, made])
    assert envs.reward_space == alone.reward_space
    actions = np.stack([np.full(alone.action_space.shape, ratio, np.float32) for ratio in (0.2, 0.5)])
    expected = []
    for seed, action in zip((3, 4), actions, strict=True):
        alone.reset(seed=seed)
        expected.append([alone.step(action)[1] for _ in range(2)])
    envs.reset(seed=3)
    for step in range(2):
        _, rewards, terminated, *_ = envs.step(actions)
        np.testing.assert_array_equal(rewards, np.stack([rewards_of[step] for rewards_of in expected]))
    assert terminated.all()
    _, rewards, *_ = envs.step(actions)  # resets, in the default mode of Gymnasium
    assert not rewards.any() and rewards.shape == (2, 2)


def test_one_reward_is_refused(make):
    with pytest.raises(ValueError, match="no reward_space: give a vector objective, or take SyncVectorEnv"):
        SyncVectorRewardEnv([lambda: make()])
    with pytest.raises(ValueError, match="array"):  # which is why this class is there
        envs = gym.vector.SyncVectorEnv([lambda: make(objective="vector")])
        envs.reset(seed=0)
        envs.step(envs.action_space.sample())
