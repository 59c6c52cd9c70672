"""Units that are copies of others: the chain computes what the narrow one would."""

import pytest
import torch
from torch import nn

from prune_env.targets import redundancy
from prune_env.targets.redundancy import duplicate_units


def chain():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 6), nn.ELU(), nn.Linear(6, 3)
    ).eval()


def test_the_chain_computes_what_its_distinct_units_would(monkeypatch):
    monkeypatch.setattr(redundancy, "NOISE", 0.0)
    layers, x = chain(), torch.randn(16, 5)
    duplicate_units(layers, [0.25, 0.5], torch.Generator())
    first, second, last = (m for m in layers if isinstance(m, nn.Linear))
    hidden = torch.relu(x @ first.weight[:2].T + first.bias[:2]) / (1 + 1e-5) ** 0.5  # statistics of a fresh BatchNorm
    weight = torch.stack([second.weight[:3, i::2].sum(1) for i in range(2)], 1)
    hidden = nn.functional.elu(hidden @ weight.T + second.bias[:3])
    weight = torch.stack([last.weight[:, i::3].sum(1) for i in range(3)], 1)
    torch.testing.assert_close(layers(x), hidden @ weight.T + last.bias, rtol=1e-5, atol=1e-5)


def test_copies_differ_by_little_and_distinct_units_stay_as_they_are():
    layers, before = chain(), chain()
    duplicate_units(layers, [0.5, 1.0], torch.Generator().manual_seed(0))
    weight = layers[0].weight
    assert 0 < (weight[4:] / weight[:4] - 1).abs().mean() < 0.1
    torch.testing.assert_close(weight[:4], before[0].weight[:4], rtol=0.15, atol=0)
    assert torch.equal(layers[5].weight, before[5].weight)


def test_there_must_be_a_share_for_every_hidden_layer():
    with pytest.raises(ValueError, match="distinct must have 2 shares, one for each hidden layer, got 1"):
        duplicate_units(chain(), [0.5], torch.Generator())
