from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from prune_env.groups import Surgeon, discover


class Attention(nn.Module):
    """Two heads of eight; the module splits by attributes."""

    def __init__(self, split: str = "heads", **more: int):
        super().__init__()
        self.heads, self.size, self.inner = 2, 8, 16
        self.q, self.k, self.v = (nn.Linear(12, 16) for _ in range(3))
        self.out = nn.Linear(16, 3)
        self.split = split
        vars(self).update(more)

    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        parts = {"heads": (self.heads, -1), "both": (self.heads, self.size), "size": (-1, self.size)}[self.split]
        q, k, v = (f(x).view(n, t, *parts).transpose(1, 2) for f in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return self.out(mixed.reshape(n, t, self.inner if self.split == "both" else -1))


X = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(0))
NAMES = ("q", "k", "v", "out")


def grouping_of(model: nn.Module) -> Any:
    return discover(model, lambda m: m(X), NAMES)


@pytest.mark.parametrize("split", ["heads", "both"])
def test_attributes_that_count_heads_follow_a_cut_and_come_back(split: str) -> None:
    model = Attention(split)
    grouping = grouping_of(model)
    assert [(g.name, g.channels, g.members) for g in grouping] == [("q", 2, NAMES)]
    surgeon = Surgeon(model, grouping)
    dense, snapshot = model(X), surgeon.snapshot()
    with torch.no_grad():
        weight = model.out.weight.clone()
        weight[:, :8] = 0
        masked = F.linear(_mixed(model), weight, model.out.bias)
    for _ in range(2):
        surgeon.cut(torch.tensor([False, True]))
        assert (model.heads, model.size, model.inner) == (1, 8, 8 if split == "both" else model.inner)
        torch.testing.assert_close(model(X), masked)
        surgeon.restore(snapshot)
        assert (model.heads, model.size, model.inner) == (2, 8, 16)
        assert torch.equal(model(X), dense)


def _mixed(model: Attention) -> Tensor:
    q, k, v = (f(X).view(2, 5, 2, 8).transpose(1, 2) for f in (model.q, model.k, model.v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def test_what_runs_anyway_has_no_counters() -> None:
    assert [(g.name, g.channels, g.counters) for g in grouping_of(Attention("size"))] == [("q", 2, ())]


def test_an_attribute_of_two_groups_counts_for_neither() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.n = 4
            self.a, self.b, self.c, self.d = nn.Linear(6, 4), nn.Linear(4, 3), nn.Linear(6, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).view(len(x), self.n)) + self.d(self.c(x).view(len(x), self.n))

    grouping = discover(Shared(), lambda m: m(torch.zeros(2, 6)), ("a", "b", "c", "d"))
    assert len(grouping) == 0


def test_a_width_in_an_attribute_counts_an_ordinary_group() -> None:
    class Viewed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.width = 8
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).view(-1, self.width))

    model = Viewed()
    grouping = discover(model, lambda m: m(torch.zeros(2, 6)), ("a", "b"))
    assert [(g.name, g.channels) for g in grouping] == [("a", 8)]
    Surgeon(model, grouping).cut(torch.arange(8) < 3)
    assert model.width == 3
    assert model(torch.zeros(2, 6)).shape == (2, 3)


def test_target_networks_count_too() -> None:
    model, network = Attention(), Attention()
    Surgeon(model, grouping_of(model), target_networks=[("", network)]).cut(torch.tensor([True, False]))
    assert (model.heads, network.heads) == (1, 1)
    assert network(X).shape == (2, 5, 3)
