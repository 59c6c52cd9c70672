"""An agent may begin where a heuristic is."""

import numpy as np
import pytest
from tiny_agents import OPTIONS, SMALL_PPO

from prune_env import PruningEnv
from prune_env.agents.saved import load_agent
from prune_env.benchmark import make_policy


def test_an_imitator_acts_like_its_teacher_before_it_learns(train, tmp_path, env):
    hyperparams = {**SMALL_PPO, "imitate": "gradient", "learning_rate": 0.0}
    agent = load_agent(train(tmp_path / "ppo", hyperparams=hyperparams), env)
    plain = load_agent(train(tmp_path / "plain", hyperparams={**SMALL_PPO, "learning_rate": 0.0}), env)
    other = PruningEnv("autoencoder", **OPTIONS, split="held_out")
    seen = np.stack([other.reset(seed=seed)[0] for seed in range(4)])
    teacher = make_policy("gradient", env).predict(seen)[0]
    assert np.abs(agent.predict(seen)[0] - teacher).max() < 0.1
    assert np.abs(plain.predict(seen)[0] - teacher).max() > 0.2


def test_a_privileged_teacher_is_refused(train, tmp_path):
    with pytest.raises(ValueError, match="'global-l2' is privileged"):
        train(tmp_path / "ppo", hyperparams={**SMALL_PPO, "imitate": "global-l2"})
