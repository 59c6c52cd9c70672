"""Small environments, trajectories through them, and equality bit for bit."""

import gymnasium as gym
import numpy as np
import pytest

from prune_env.targets.data import DataError

QUICK = {"dense_steps": 120, "learning_rate": 0.005, "steps_per_round": 2, "latent_dim": 4, "batch_size": 32}
# Controllers are not trained here: their checkpoints come with the package.
QUICK_CONTROLLER = {"steps_per_round": 1, "starts": 2, "planner": {"samples": 8, "elites": 2, "iterations": 1}}
QUICK_AGENT = {"steps_per_round": 2, "episodes": 2, "batch_size": 16}


def make_or_skip(env_id, **options):
    quick = QUICK_CONTROLLER if "TDMPC" in env_id else QUICK_AGENT if "SB3" in env_id else QUICK
    try:
        return gym.make(env_id, **(quick | options))
    except DataError as error:
        pytest.skip(f"the data of {env_id} is not here: {error}")
    except ImportError as error:
        pytest.skip(str(error))


def rollout(env, seed, steps=12):
    """Observations, rewards and infos of `steps` rounds under fixed actions, episodes included."""
    random = np.random.default_rng(1)
    observation, info = env.reset(seed=seed)
    trail = [(observation, 0.0, info)]
    for _ in range(steps):
        action = random.uniform(0, env.action_space.high[0], env.action_space.shape).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        trail.append((observation, reward, info))
        if terminated or truncated:
            observation, info = env.reset()
            trail.append((observation, 0.0, info))
    return trail


def same(one, other):
    """Equality of nests of arrays and numbers, bit for bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return np.array_equal(one, other)
