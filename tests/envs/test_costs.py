"""Costs: exact on the cut network, and open to others."""

import gymnasium as gym
import numpy as np
import pytest

from prune_env.envs.costs import COSTS, register_cost, sparsity_name
from prune_env.groups import count_cost

QUICK = {"dense_steps": 120, "learning_rate": 0.005, "latent_dim": 4, "batch_size": 32, "steps_per_round": 0}


@pytest.fixture
def env():
    return gym.make("PruneEnv/Autoencoder-v0", **QUICK).unwrapped


@pytest.mark.parametrize("name", COSTS)
def test_predicted_costs_are_those_of_the_cut_network(env, name):
    env.reset(seed=0)
    env.step(np.linspace(0.1, 0.6, 7))
    train_state = env.network.train_state
    counted = count_cost(train_state.model, train_state.target.deploy)
    assert COSTS[name](env.network)(env.episode.widths) == getattr(counted, name)
    batch = np.stack([env.episode.widths, env.network.grouping.widths])
    assert np.shape(COSTS[name](env.network)(batch)) == (2,)


def test_a_new_cost_is_one_function(env, monkeypatch):
    """Budgets, terms, rewards and info know it without a change elsewhere."""
    monkeypatch.setitem(COSTS, "channels", None)  # taken back after the test
    del COSTS["channels"]
    register_cost("channels", lambda network: lambda widths: np.asarray(widths).sum(axis=-1))
    made = gym.make("PruneEnv/Autoencoder-v0", budget=0.5, budget_unit="channels", rounds=1, **QUICK).unwrapped
    made.reset(seed=0)
    _, _, _, _, info = made.step(np.full(7, 0.5))
    dense = made.network.grouping.widths.sum()
    assert info["sparsities"]["channels"] == 1 - info["channels"].sum() / dense >= 0.5
    assert info["reward_terms"]["sparsity_channels"] == info["reward_terms"]["budget_sparsity"]
    with pytest.raises(ValueError, match="cost 'macs' is already registered"):
        register_cost("macs", None)


def test_names_of_sparsities():
    assert [sparsity_name(cost) for cost in ("parameters", "macs", "latency")] == [
        "sparsity",
        "sparsity_macs",
        "sparsity_latency",
    ]
