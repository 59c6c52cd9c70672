"""Episodes under fixed seeds: those that SB3 would play, behind the same normalisation."""

import gymnasium as gym
import numpy as np
import pytest
from sb3_agents import agent, target
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from prune_env.targets import SB3Agent
from prune_env.targets.sb3.simulation import Simulator
from prune_env.targets.sb3.states import fixed_seeds


def _play(model, env, seed, normalise=lambda x: x):
    observation, total, over = env.reset(seed=seed)[0], 0.0, False
    while not over:
        action, _ = model.predict(normalise(observation), deterministic=True)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, over = total + float(reward), terminated or truncated
    return total


@pytest.mark.parametrize("name", ["ppo", "ppo-cnn"])
def test_returns_are_those_of_episodes_with_sb3(name):
    made = target(name)
    ours = made.returns(made.build(), "test", 3)
    wanted = [_play(agent(name), gym.make(made.env), seed) for seed in fixed_seeds("test", 3)]
    assert ours.tolist() == wanted
    assert made.score(made.build(), "test") == np.mean(wanted)


def test_the_floor_is_that_of_random_actions_and_repeats():
    made = target("ppo", episodes=4)
    assert made.floor("validation") == made.floor("validation") != made.floor("test")
    assert 10 < made.floor("test") < 60  # random actions balance the pole for about 22 steps


def test_seeds_of_the_splits_are_disjoint():
    splits = [set(fixed_seeds(split, 1000)) for split in ("train", "validation", "test")]
    assert len(set.union(*splits)) == 3000


def test_an_environment_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"observations of 'Pendulum-v1' are .* register an environment with the wrap"):
        SB3Agent(agent("ppo"), "Pendulum-v1")
    with pytest.raises(ValueError, match=r"actions of 'TestCatch-v0' are Discrete\(3\)"):
        SB3Agent(agent("sac-cnn"), "TestCatch-v0")
    with pytest.raises(ValueError, match="'NoSuch-v0' cannot be made with"):
        SB3Agent(agent("ppo"), "NoSuch-v0")
    with pytest.raises(ValueError, match="give the environment in which the agent is scored"):
        SB3Agent(agent("ppo"))


def test_an_episode_without_an_end_is_cut_off(monkeypatch):
    made = target("ppo-box")
    endless = Simulator(
        "Pendulum-v1", {"max_episode_steps": 10**9}, made.dense.observation_space, made.dense.action_space
    )
    monkeypatch.setattr("prune_env.targets.sb3.simulation.MOST_STEPS", 30)
    seen = []
    endless.returns(None, [0, 1], seen.append)
    assert len(seen) == 30


def test_observations_are_normalised_as_vecnormalize_does(tmp_path):
    venv = VecNormalize(DummyVecEnv([lambda: gym.make("CartPole-v1")]))
    model = PPO("MlpPolicy", venv, n_steps=64, batch_size=32, seed=0, device="cpu").learn(128)
    path = tmp_path / "vecnormalize.pkl"
    venv.save(path)
    made = SB3Agent(model, "CartPole-v1", vec_normalize=path, episodes=3)
    wanted = [_play(model, gym.make("CartPole-v1"), s, venv.normalize_obs) for s in fixed_seeds("test", 3)]
    assert made.returns(made.build(), "test", 3).tolist() == wanted
    assert made.settings() != SB3Agent(model, "CartPole-v1", episodes=3).settings()
    model.save(tmp_path / "agent.zip")
    with pytest.raises(ValueError, match="trust"):
        SB3Agent(str(tmp_path / "agent.zip"), "CartPole-v1", vec_normalize=path)
    path.write_bytes(b"no pickle")
    with pytest.raises(ValueError, match="the statistics of VecNormalize cannot be read"):
        SB3Agent(model, "CartPole-v1", vec_normalize=path)
