"""Costs: exact on the cut network, and open to others."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from prune_env.envs.costs import COSTS, MEASURED_COSTS, register_cost, sparsity_name
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


def test_energy_by_hand(env):
    """A chain of linear layers: 784 numbers go in; each layer computes as many numbers as it has outputs."""
    env.reset(seed=0)
    env.step(np.linspace(0.1, 0.6, 7))
    layers = [m for m in env.network.train_state.model.modules() if isinstance(m, torch.nn.Linear)]
    macs = sum(layer.in_features * layer.out_features for layer in layers)
    parameters = sum(p.numel() for p in env.network.train_state.model.parameters())
    computed = sum(layer.out_features for layer in layers)
    predicted = MEASURED_COSTS["energy"](env.network)(env.episode.widths)
    assert predicted == pytest.approx((4.6 * macs + 640 * parameters + 10 * computed) / 1000)


def test_activations_of_a_convolutional_network_are_those_of_its_cut():
    """The outputs of all layers, and inputs of transposed ones, watched by hooks while the cut network runs."""
    made = gym.make("PruneEnv/Pruning-v0", target="complex-cnn", rounds=1, steps_per_round=0, dense_steps=20).unwrapped
    made.reset(seed=0)
    dense = made.network.cost.activations(made.network.grouping.widths)
    made.step(np.linspace(0.1, 0.6, len(made.group_names)))
    state, seen = made.network.train_state, []

    def see(module, given, output):
        seen.append((given[0] if isinstance(module, torch.nn.ConvTranspose2d) else output).numel())

    kinds = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.ConvTranspose2d)
    handles = [m.register_forward_hook(see) for m in state.model.modules() if isinstance(m, kinds)]
    with torch.no_grad():
        state.target.deploy(state.model.eval())
    for handle in handles:
        handle.remove()
    assert made.network.cost.activations(made.episode.widths) == sum(seen) < dense


def test_energy_is_a_budget_that_is_met():
    made = gym.make("PruneEnv/Autoencoder-v0", budget=0.5, budget_unit="energy", rounds=1, **QUICK).unwrapped
    made.reset(seed=0)
    _, _, _, _, info = made.step(np.linspace(0.1, 0.6, 7))
    assert 0.5 <= info["sparsities"]["energy"] < 0.53
