"""Repairs of weights: least squares of the readers, and OBS's update; by hand and against independent solutions."""

import itertools

import pytest
import torch
from torch import nn

from prune_env.groups import Surgeon, discover
from prune_env.importance.reads import given_to, patches_of
from prune_env.repair import BrainSurgeon, Ridge
from prune_env.targets import Target


class Pair(Target):
    """Whatever layer is given as reader of a linear layer's or a convolution's channels; the batch is fixed."""

    components = ("a", "b")

    def __init__(self, first, reader, batch):
        self.first, self.reader, self.batch = first, reader, batch

    def build(self, generator=None):
        model = nn.Module()
        model.a, model.b = self.first, self.reader
        return model

    def run(self, model, batch):
        out = model.b(model.a(batch))
        return out[0] if isinstance(out, tuple) else out

    def trace(self, model):
        return self.run(model, torch.rand_like(self.batch[:2]))

    def batches(self, generator):
        return itertools.repeat(self.batch)

    def loss(self, model, batch):
        return self.run(model, batch).square().mean()


def cut(target, repair, gone):
    model = target.build()
    surgeon = Surgeon(model, discover(model, target.trace, target.components))
    keep = torch.ones(len(surgeon.present), dtype=torch.bool)
    keep[gone] = False
    repair.before_cut(target, surgeon, keep, target.batches(None))
    surgeon.cut(keep)
    repair.after_cut(target, model, target.batches(None))
    return model, surgeon


def test_ridge_by_hand():
    """The second input is 2 x + 1 of the first in four samples: it goes, and the first stands for it exactly."""
    first, reader = nn.Linear(1, 2), nn.Linear(2, 1)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0], [2.0]]))
        first.bias.copy_(torch.tensor([0.0, 1.0]))
        reader.weight.copy_(torch.tensor([[0.5, -3.0]]))
        reader.bias.fill_(0.25)
    target = Pair(first, reader, torch.tensor([[0.0], [1.0], [3.0], [-2.0]]))
    model, _ = cut(target, Ridge(strength=0.0), [1])
    assert model.b.weight.tolist() == [[pytest.approx(0.5 - 3 * 2)]]
    assert model.b.bias.tolist() == [pytest.approx(0.25 - 3 * 1)]


def test_ridge_with_ridge_by_hand():
    """Inputs (1, 1, -1, -1) and (1, 0, 0, -1): variance 1, covariance 1/2; strength 1 takes half of 1/2 over."""
    first, reader = nn.Linear(2, 2, bias=False), nn.Linear(2, 1)
    with torch.no_grad():
        first.weight.copy_(torch.eye(2))
        reader.weight.copy_(torch.tensor([[1.0, 4.0]]))
        reader.bias.zero_()
    target = Pair(first, reader, torch.tensor([[1.0, 1.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, -1.0]]))
    model, _ = cut(target, Ridge(strength=1.0), [1])
    assert model.b.weight.tolist() == [[pytest.approx(1 + 4 * 0.5 / 2)]]
    assert model.b.bias.tolist() == [pytest.approx(0.0)]


def wide(count, *shape):
    """Samples with four channels, of which the last two depend on the others, noisily."""
    x = torch.randn(count, 4, *shape)
    x[:, 2:] = x[:, :2] * 1.5 - 0.5 + 0.2 * x[:, 2:]
    return x


def identity(convolution=False):
    layer = nn.Conv2d(4, 4, 1) if convolution else nn.Linear(4, 4)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(4).view_as(layer.weight))
        layer.bias.zero_()
    return layer


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
def test_a_convolution_is_fitted_with_all_entries_of_its_kernel(padding_mode):
    torch.manual_seed(0)
    reader = nn.Conv2d(4, 3, 3, padding=1, stride=2, padding_mode=padding_mode)
    target = Pair(identity(convolution=True), reader, wide(32, 7, 7))
    before = target.run(target.build(), target.batch).detach()
    rows = patches_of(reader, (target.batch,), 10**6)["weight"]
    design = torch.cat([rows[:, :18], torch.ones(len(rows), 1)], dim=1).double()
    solution = torch.linalg.lstsq(design, before.movedim(1, -1).flatten(0, -2).double()).solution
    model, _ = cut(target, Ridge(strength=0.0), [2, 3])
    assert torch.allclose(model.b.weight.flatten(1).double(), solution[:-1].T, atol=1e-4)
    assert torch.allclose(model.b.bias.double(), solution[-1], atol=1e-4)


def test_a_recurrent_reader_is_fitted_gate_by_gate():
    """A GRU reads a sequence whose channels go."""
    torch.manual_seed(0)
    reader = nn.GRU(4, 5, batch_first=True)
    target = Pair(identity(), reader, wide(200)[:, None].reshape(50, 4, 4))
    gates = target.batch.flatten(0, 1) @ reader.weight_ih_l0.T + reader.bias_ih_l0
    design = torch.cat([target.batch.flatten(0, 1)[:, :2], torch.ones(200, 1)], dim=1).double()
    solution = torch.linalg.lstsq(design, gates.detach().double()).solution
    model, _ = cut(target, Ridge(strength=0.0), [2, 3])
    assert torch.allclose(model.b.weight_ih_l0.double(), solution[:-1].T, atol=1e-4)
    assert torch.allclose(model.b.bias_ih_l0.double(), solution[-1], atol=1e-4)
    assert model.b.weight_hh_l0.shape == (15, 5)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_hidden_channels_of_recurrent_layers_are_fitted_too(kind):
    """What reads the hidden state, the layer itself and the head behind it, is nearer to before with the repair."""
    torch.manual_seed(0)

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(6, 2)

        def forward(self, x):
            return self.out(x[0])

    target = Pair(kind(3, 6, batch_first=True), Head(), torch.randn(64, 7, 3))
    hidden = given_to(target.first, (target.batch,))["weight_hh_l0"]
    gates = (hidden @ target.first.weight_hh_l0.T + target.first.bias_hh_l0).detach().double()
    design = torch.cat([hidden[:, [0, 2, 3, 5]], torch.ones(len(hidden), 1)], dim=1).double()
    solution = torch.linalg.lstsq(design, gates).solution
    rows = torch.arange(len(gates[0])).view(-1, 6)[:, [0, 2, 3, 5]].flatten()  # the gates of what stays
    model, _ = cut(target, Ridge(strength=0.0), [1, 4])
    assert torch.allclose(model.a.weight_hh_l0.double(), solution[:-1].T[rows], atol=1e-3)
    assert torch.allclose(model.a.bias_hh_l0.double(), solution[-1][rows], atol=1e-3)


def test_a_transposed_convolution_is_fitted_entry_by_entry():
    torch.manual_seed(0)
    batch = wide(32, 5, 5)
    batch[:, 2:] = batch[:, :2] * 1.5  # what goes is a multiple of what stays: nothing is lost
    reader = nn.ConvTranspose2d(4, 3, 3, stride=2)
    target = Pair(identity(convolution=True), reader, batch)
    before = target.run(target.build(), batch).detach()
    model, _ = cut(target, Ridge(strength=0.0), [2, 3])
    assert model.b.weight.shape[0] == 2
    assert torch.allclose(target.run(model, batch), before, atol=1e-3)


# ---------------------------------------------------------------------- OBS
class Slopes(Pair):
    """A loss that is linear in the weights, with slopes that are the batches: they are its gradients."""

    def __init__(self, slopes):
        super().__init__(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False), None)
        self.slopes = slopes

    def trace(self, model):
        return self.run(model, torch.rand(3, 1))

    def batches(self, generator):
        return itertools.cycle(self.slopes)

    def loss(self, model, batch):
        return (model.a.weight[:, 0] * batch[:2]).sum() + (model.b.weight[0] * batch[2:]).sum()


def test_obs_by_hand():
    """Four weights, one gradient (1, 2, 3, 4); the second channel goes: weights 2 and 4.

    With lambda N = damping * (1 + 9) = 10, the weights that stay change by (1, 3) * (2 w_2 + 4 w_4) / (10 + 10).
    """
    target = Slopes([torch.tensor([1.0, 2.0, 3.0, 4.0])])
    with torch.no_grad():
        target.first.weight.copy_(torch.tensor([[5.0], [-1.0]]))
        target.reader.weight.copy_(torch.tensor([[0.0, 2.0]]))
    model, _ = cut(target, BrainSurgeon(gradients=1, damping=1.0), [1])
    moved = (2 * -1 + 4 * 2) / 20
    assert model.a.weight.tolist() == [[pytest.approx(5 + moved)]]
    assert model.b.weight.tolist() == [[pytest.approx(3 * moved)]]


def test_obs_is_the_minimum_of_the_quadratic():
    """Against the full matrix F, solved for the weights that stay."""
    torch.manual_seed(0)
    slopes = list(torch.randn(6, 4))
    target = Slopes(slopes)
    weights = torch.cat([target.first.weight.flatten(), target.reader.weight.flatten()]).detach().double()
    going, stays = [1, 3], [0, 2]
    rows = torch.stack(slopes).double()
    damping = 0.3 * rows[:, stays].square().sum(1).mean() / 6
    fisher = rows.T @ rows / 6 + damping * torch.eye(4)
    change = torch.linalg.solve(fisher[stays][:, stays], fisher[stays][:, going] @ weights[going])
    model, _ = cut(target, BrainSurgeon(gradients=6, damping=0.3), [1])
    found = torch.stack([model.a.weight[0, 0], model.b.weight[0, 0]]).double()
    assert torch.allclose(found, weights[stays] + change, atol=1e-5)
