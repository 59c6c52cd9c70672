"""Vanilla DepGraph as a policy: it meets the budget, global is not local, and what it cannot do is said."""

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch

import prune_env  # noqa: F401  registers the environments
from prune_env.baselines import depgraph_global, depgraph_local
from prune_env.baselines.depgraph import DepGraph
from prune_env.envs import COSTS

BUDGET = 0.5
FACTORIES = [depgraph_global, depgraph_local]


@pytest.fixture(scope="module")
def env():
    return gym.make("PruneEnv/Autoencoder-v0", rounds=1, budget=BUDGET, steps_per_round=5, dense_steps=200).unwrapped


def predict(policy, view):
    policy.attach(view)
    ratios, state = policy.predict(np.zeros(1))
    assert state is None
    return ratios


def sparsity_at(view, ratios):
    widths = np.round(view.widths * (1.0 - ratios.astype(np.float64))).astype(int)
    return 1.0 - view.cost_of(widths) / view.cost_of(view.widths)


@pytest.mark.parametrize("factory", FACTORIES)
def test_the_ratios_lead_to_the_budget(env, factory):
    env.reset(seed=0)
    policy = factory(env)
    ratios = predict(policy, env.view)
    assert policy.privileged and not policy.learned
    assert ratios.dtype == np.float32 and ratios.shape == env.action_space.shape
    assert BUDGET <= sparsity_at(env.view, ratios) < BUDGET + 0.02
    *_, info = env.step(ratios)
    assert info["reward_terms"]["sparsity"] == pytest.approx(BUDGET, abs=0.01)


def test_local_is_nearly_uniform_and_global_is_not(env):
    env.reset(seed=0)
    everywhere, alike = (predict(factory(env), env.view) for factory in FACTORIES)
    channel = 1 / env.view.widths.min()
    assert np.ptp(alike) <= channel + 1e-6
    assert np.ptp(everywhere) > np.ptp(alike)
    assert not np.allclose(everywhere, alike)


def test_the_numbers_are_torch_prunings(env):
    """Local, by hand: torch-pruning keeps int(C * (1 - ratio)) channels of every group, and no others than these."""
    env.reset(seed=0)
    view = env.view
    kept = np.round(view.widths * (1.0 - predict(depgraph_local(env), view))).astype(int)
    possible = {tuple(int(c * (1 - i / 1024)) for c in view.widths) for i in range(1024)}
    assert tuple(kept) in possible


def test_looking_leaves_the_network_alone(env):
    env.reset(seed=0)
    model = env.network.train_state.model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state, training = torch.get_rng_state(), model.training
    predict(depgraph_global(env), env.view)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training == training


def test_without_a_budget_the_amount_decides():
    env = gym.make("PruneEnv/Autoencoder-v0", rounds=2, steps_per_round=5, dense_steps=200).unwrapped
    env.reset(seed=0)
    policy = DepGraph(env, global_pruning=False, amount=0.3)
    for _ in range(2):  # the second time on a network that is already cut
        ratios = predict(policy, env.view)
        assert sparsity_at(env.view, ratios) == pytest.approx(0.3, abs=0.03)
        env.step(ratios)


def test_needs_a_network(env):
    with pytest.raises(RuntimeError, match="attach"):
        depgraph_global(env).predict(np.zeros(1))


def stand_in(view, **changes):
    names = ("widths", "roots", "trace", "count_cost", "cost_target", "cost_of", "copy_model")
    return SimpleNamespace(**({name: getattr(view, name) for name in names} | changes))


def test_a_group_that_is_not_the_environments_is_an_error(env):
    env.reset(seed=0)
    view = env.view
    fewer = stand_in(
        view,
        widths=view.widths[:-1],
        roots=view.roots[:-1],
        cost_of=lambda widths, unit=None: view.cost_of(np.append(widths, view.widths[-1]), unit),
    )
    with pytest.raises(RuntimeError, match="outside the environment's groups"):
        predict(depgraph_local(env), fewer)


def test_a_network_that_torch_pruning_cannot_trace_is_an_error(env):
    env.reset(seed=0)
    view = env.view
    with pytest.raises(RuntimeError, match="torch-pruning cannot prune"):
        predict(depgraph_global(env), stand_in(view, trace=lambda model: view.trace(model).detach()))


@pytest.mark.parametrize("unit", ["macs", "channels"])
def test_a_budget_may_count_any_cost(monkeypatch, unit):
    monkeypatch.setitem(COSTS, "channels", lambda network: lambda widths: np.asarray(widths).sum(axis=-1))
    options = {"rounds": 1, "budget": BUDGET, "steps_per_round": 0, "dense_steps": 200, "budget_unit": unit}
    env = gym.make("PruneEnv/Autoencoder-v0", **options).unwrapped
    env.reset(seed=0)
    assert sparsity_at(env.view, predict(depgraph_local(env), env.view)) >= BUDGET
