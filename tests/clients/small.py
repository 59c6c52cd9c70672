"""A small environment of digits, and agents' actions in [-1, 1]; what all clients run on."""

import gymnasium as gym
import numpy as np

import prune_env  # noqa: F401  # registers the ids

ENV_ID = "PruneEnv/Autoencoder-v0"
NETWORK = {"hidden_layers": 1, "learning_rate": 0.01, "dense_steps": 60}
OPTIONS = {"pool": 1, "rounds": 2, "steps_per_round": 2, "budget": 0.5, **NETWORK}


def make(**changes):
    """The environment as a user makes it, with actions in [-1, 1]."""
    return gym.wrappers.RescaleAction(gym.make(ENV_ID, **(OPTIONS | changes)), np.float32(-1), np.float32(1))
