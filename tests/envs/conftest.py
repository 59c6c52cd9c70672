"""Small environments whose dense networks train in a moment."""

import gymnasium as gym
import pytest
from small_envs import QUICK

import prune_env  # noqa: F401


@pytest.fixture
def make():
    made = []

    def make_env(env_id="PruneEnv/Autoencoder-v0", **options):
        made.append(gym.make(env_id, **(QUICK | options)))
        return made[-1]

    yield make_env
    for env in made:
        env.close()
