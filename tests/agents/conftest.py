"""Tiny environments, and one tiny PPO agent that most tests of agents share."""

from pathlib import Path

import pytest
from tiny_agents import ENV_ID, OPTIONS, SMALL_PPO

from prune_env import PruningEnv
from prune_env.agents import train_agent


@pytest.fixture(scope="session")
def env():
    return PruningEnv("autoencoder", **OPTIONS)


@pytest.fixture(scope="session")
def train():
    """`train_agent` for few steps on tiny networks; arguments override."""

    def run(out: Path, algo: str = "ppo", **changes) -> Path:
        arguments = {
            "env_options": OPTIONS,
            "timesteps": 16,
            "n_envs": 1,
            "hyperparams": SMALL_PPO,
            "eval_every": 8,
            "eval_episodes": 2,
            "progress": False,
        }
        return train_agent(algo, ENV_ID, out, **(arguments | changes))

    return run


@pytest.fixture(scope="session")
def trained(train, tmp_path_factory) -> Path:
    """The folder of a PPO agent after 16 rounds; copy it before changing anything."""
    return train(tmp_path_factory.mktemp("agents") / "ppo").parent
