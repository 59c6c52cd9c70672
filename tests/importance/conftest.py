"""A network small enough to compute by hand: 3 inputs, groups `a.0` (2 channels) and `b.0` (3 channels), 1 output."""

import pytest
import torch
from torch import nn

from prune_env.groups import Surgeon, discover


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
        self.b = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))

    def forward(self, x):
        return self.b(self.a(x))


def trace(model):
    return model(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def tiny():
    torch.manual_seed(1)
    model = Tiny()
    surgeon = Surgeon(model, discover(model, trace, ("a", "b")))
    assert surgeon.grouping.names == ("a.0", "b.0")
    return surgeon


@pytest.fixture
def set_gradients():
    """Give every parameter of the two root layers a chosen gradient; all others get ones."""

    def set_them(surgeon, a_weight, a_bias, b_weight, b_bias):
        model = surgeon.model
        chosen = {
            model.a[0].weight: a_weight,
            model.a[0].bias: a_bias,
            model.b[0].weight: b_weight,
            model.b[0].bias: b_bias,
        }
        for p in model.parameters():
            p.grad = torch.tensor(chosen[p], dtype=torch.float32) if p in chosen else torch.ones_like(p)

    return set_them
