"""Small environments whose dense networks train in a blink."""

import gymnasium as gym
import pytest

import prune_env  # noqa: F401

QUICK = {"dense_steps": 120, "learning_rate": 0.005, "steps_per_round": 2, "latent_dim": 4, "batch_size": 32}


@pytest.fixture
def make():
    made = []

    def make_env(env_id="PruneEnv/Autoencoder-v0", **options):
        made.append(gym.make(env_id, **(QUICK | options)))
        return made[-1]

    yield make_env
    for env in made:
        env.close()
