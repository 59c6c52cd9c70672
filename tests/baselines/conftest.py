"""One small environment for all tests of the baselines; tests reset it."""

import pytest

from prune_env import PruningEnv

TINY = {"latent_dim": 4, "hidden_layers": 1, "learning_rate": 0.01, "dense_steps": 60}


@pytest.fixture(scope="session")
def env():
    return PruningEnv("autoencoder", rounds=2, steps_per_round=2, budget=0.5, **TINY)


@pytest.fixture(scope="session")
def importance_env():
    """The same networks, seen through the 3 G importance columns only."""
    return PruningEnv("autoencoder", rounds=2, steps_per_round=2, budget=0.5, observation="importance", **TINY)
