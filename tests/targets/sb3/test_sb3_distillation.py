"""Distillation, and importance where it has nothing left to teach."""

import pytest
import torch
from sb3_agents import cut_state, target
from torch import nn

from prune_env.targets.sb3.distillation import distillation_loss, likelihood_loss
from prune_env.targets.sb3.heads import Categorical
from prune_env.training import train


@pytest.mark.parametrize("name", ["ppo", "ppo-box", "sac", "td3", "dqn", "ppo-cnn"])
def test_at_the_dense_agent_the_loss_and_its_gradient_are_zero_and_the_likelihoods_is_not(name):
    made = target(name)
    net, states = made.build(), next(made.batches(torch.Generator().manual_seed(0)))
    made.collect(net, states)
    x = made.dense.preprocess(states.sample(32))
    loss = distillation_loss(net, made.dense, x, True)
    loss.backward()
    assert float(loss.detach()) < 1e-9
    actor = list(net.get_submodule(net.actor_name).parameters())
    assert all(p.grad is None or p.grad.abs().max() < 1e-4 for p in actor)
    net.zero_grad()
    likelihood_loss(net, x, torch.Generator().manual_seed(0), False).backward()
    assert max(float(p.grad.abs().max()) for p in actor if p.grad is not None) > 1e-6


class _Linear(nn.Module):
    """A policy with one number to learn: the logits are (0, theta)."""

    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta))

    def heads(self, x, temperature=None):
        return [Categorical(torch.stack([0 * self.theta, self.theta]).expand(len(x), 2))]


def test_the_expected_squared_gradient_is_the_fisher_information():
    policy, generator, batch = _Linear(0.7), torch.Generator().manual_seed(0), 8
    squares = []
    for _ in range(3000):
        policy.theta.grad = None
        likelihood_loss(policy, torch.zeros(batch, 1), generator, False).backward()
        squares.append(float(policy.theta.grad) ** 2)
    p = float(torch.sigmoid(policy.theta))
    assert abs(batch * sum(squares) / len(squares) - p * (1 - p)) < 0.015  # p (1 - p) = 0.222


@pytest.mark.parametrize("name", ["ppo", "sac", "dqn", "td3-cnn-shared"])
def test_a_cut_agent_comes_closer_to_the_dense_one(name):
    state = cut_state(name, critics=name in ("sac", "td3-cnn-shared"))
    batches = state.target.batches(torch.Generator().manual_seed(0))
    first = train(state.target, state.model, state.optimizers, batches, 3)
    train(state.target, state.model, state.optimizers, batches, 30)
    assert train(state.target, state.model, state.optimizers, batches, 3) < 0.5 * first


def test_observers_see_the_likelihood_and_what_they_add_is_added_to_the_step():
    state = cut_state("ppo")
    made, net = state.target, state.model
    states = next(made.batches(torch.Generator().manual_seed(0)))
    made.collect(net, states)
    memory, draws = state.snapshot(), states.generator.get_state()
    seen = {}

    def step(extra):
        def observe(optimizer):
            seen["gradient"] = [p.grad.clone() for p in actor]
            for p in actor:
                p.grad.add_(extra)

        states.generator.set_state(draws)
        state.restore(memory)
        actor = list(net.actor.parameters())
        made.training_step(net, [torch.optim.SGD(net.parameters(), lr=1.0)], states, observe)
        return [p.detach().clone() for p in net.actor.parameters()]

    plain, more = step(0.0), step(0.25)
    for one, other in zip(plain, more, strict=True):
        torch.testing.assert_close(one - other, torch.full_like(one, 0.25), atol=1e-5, rtol=0)
    states.generator.set_state(draws)
    state.restore(memory)
    x = made.dense.preprocess(states.sample(made.batch_size))
    likelihood_loss(net, x, states.generator, False).backward()
    for p, gradient in zip(net.actor.parameters(), seen["gradient"], strict=True):
        torch.testing.assert_close(p.grad, gradient)


def test_target_networks_follow():
    state = cut_state("dqn")
    module = dict(state.model.target_networks)["q_net"]
    with torch.no_grad():
        module[0].weight.add_(1.0)
    before = float((module[0].weight - state.model.q_net[0].weight).abs().mean())
    train(state.target, state.model, state.optimizers, state.target.batches(torch.Generator().manual_seed(0)), 60)
    assert float((module[0].weight - state.model.q_net[0].weight).abs().mean()) < 0.2 * before
