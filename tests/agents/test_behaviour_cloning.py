"""Behaviour cloning: an agent is warm-started from a heuristic."""

import numpy as np
import pytest
from tiny_agents import OPTIONS, SMALL_PPO

from prune_env import PruningEnv
from prune_env.agents.saved import load_agent
from prune_env.benchmark import make_policy


def test_a_cloned_actor_acts_like_the_heuristic_before_it_learns(train, tmp_path, env):
    hyperparams = {**SMALL_PPO, "behaviour_cloning": "gradient", "learning_rate": 0.0}
    agent = load_agent(train(tmp_path / "ppo", hyperparams=hyperparams), env)
    plain = load_agent(train(tmp_path / "plain", hyperparams={**SMALL_PPO, "learning_rate": 0.0}), env)
    other = PruningEnv("autoencoder", **OPTIONS, split="held_out")
    observations = np.stack([other.reset(seed=seed)[0] for seed in range(4)])
    expert = make_policy("gradient", env).predict(observations)[0]
    assert np.abs(agent.predict(observations)[0] - expert).max() < 0.1
    assert np.abs(plain.predict(observations)[0] - expert).max() > 0.2


def test_a_privileged_policy_cannot_be_cloned(train, tmp_path):
    with pytest.raises(ValueError, match="'global-l2' is privileged"):
        train(tmp_path / "ppo", hyperparams={**SMALL_PPO, "behaviour_cloning": "global-l2"})
