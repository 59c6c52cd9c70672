"""The gated loss: by hand, against the cut network, and its gradient against finite differences."""

import numpy as np
import pytest
import torch
from torch import nn

from prune_env import PruningEnv
from prune_env.groups import Surgeon, discover
from prune_env.importance.gated_loss import gated_loss


class Two(nn.Module):
    """Two inputs, two hidden channels, one output; no bias."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
        with torch.no_grad():
            self.net[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
            self.net[2].weight.copy_(torch.tensor([[3.0, 5.0]]))

    def forward(self, x):
        return self.net(x)


def losses_of(x):
    return lambda model: [(model(x).sum(), list(model.parameters()))]


def test_by_hand():
    """x = (1, 1): the channels are 1 and 2, the output 3 g_0 + 10 g_1, whose gradient is (3, 10) whatever the gates."""
    model, x = Two(), torch.ones(1, 2)
    surgeon = Surgeon(model, discover(model, lambda m: m(x), ("net",)), [], [])
    for gates, value in (([1.0, 1.0], 13.0), ([0.5, 0.0], 1.5)):
        loss, gradient = gated_loss(surgeon, losses_of(x), torch.tensor(gates))
        assert loss == value and gradient.tolist() == [3.0, 10.0]
    assert model.net[2].weight.tolist() == [[3.0, 5.0]] and model.net[2].weight.grad is None


@pytest.fixture(scope="module")
def env():
    made = PruningEnv("autoencoder", latent_dim=4, hidden_layers=1, learning_rate=0.01, dense_steps=60, budget=0.5)
    made.reset(seed=0)
    return made


def test_closed_gates_are_the_cut(env):
    """In evaluation mode, with the closed channels really removed, the loss is the same."""
    state = env.network.train_state
    random = np.random.default_rng(0)
    keep = random.random(len(env.view.group_of)) < 0.6
    batch = next(state.target.batches(torch.Generator().manual_seed(0)))

    def losses(model):
        return state.target.losses(model.eval(), batch)

    gated, _ = gated_loss(state.surgeon, losses, torch.from_numpy(keep.astype(np.float64)))
    memory = state.snapshot()
    state.cut(torch.from_numpy(keep))
    cut = sum(float(value.detach()) for value, _ in losses(state.model))
    state.restore(memory)
    assert float(gated) == pytest.approx(cut, rel=1e-5)


def test_gradient_against_finite_differences(env):
    state = env.network.train_state
    batch = next(state.target.batches(torch.Generator().manual_seed(0)))
    gates = torch.from_numpy(np.random.default_rng(1).uniform(0.3, 1.0, len(env.view.group_of)))

    def loss(at):
        return float(gated_loss(state.surgeon, lambda m: state.target.losses(m.eval(), batch), at)[0])

    _, gradient = gated_loss(state.surgeon, lambda m: state.target.losses(m.eval(), batch), gates)
    for channel in range(0, len(gates), 7):
        step = torch.zeros_like(gates)
        step[channel] = 0.02
        slope = (loss(gates + step) - loss(gates - step)) / 0.04
        assert float(gradient[channel]) == pytest.approx(slope, rel=0.05, abs=2e-5)
    assert gradient.abs().sum() > 0


def test_the_view_leaves_no_trace_and_counts(env):
    env.reset(seed=0)
    view, model = env.view, env.network.train_state.model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random = env.episode.generator.get_state()
    loss, gradient = view.gated_loss(np.ones(len(view.group_of)))
    assert np.isfinite(loss) and gradient.shape == view.group_of.shape
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(random, env.episode.generator.get_state())
    assert (env.episode.trial_steps, env.episode.trial_cuts) == (1, 0)
    with pytest.raises(ValueError, match="a gate for each"):
        view.gated_loss(np.ones(3))


def test_each_parameter_follows_the_losses_that_train_it():
    """Two losses, of which the second trains the reader alone: its gradient is added there."""
    model, x = Two(), torch.ones(1, 2)
    surgeon = Surgeon(model, discover(model, lambda m: m(x), ("net",)), [], [])

    def losses(m):
        first, second = list(m.net[0].parameters()), list(m.net[2].parameters())
        return [(m(x).sum(), first), (2 * m(x).sum(), second)]

    value, gradient = gated_loss(surgeon, losses, torch.ones(2))
    assert value == 39.0 and gradient.tolist() == [6.0, 20.0]
