"""Custom layers say which attributes repeat the sizes of their tensors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from prune_env.groups import Surgeon, declare_widths, discover
from prune_env.groups.layer_attributes import WIDTH_ATTRIBUTES


class Transposed(nn.Module):
    """The layer of GPT-2: a transposed weight, and a forward pass that relies on the attribute `nf`."""

    def __init__(self, nf: int, nx: int):
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight, self.bias = nn.Parameter(torch.randn(nx, nf)), nn.Parameter(torch.randn(nf))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], self.nf)


class Further(Transposed):
    """A subclass that is not declared."""


X = torch.randn(3, 2, 4)


def network(kind: type[Transposed]) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(kind(6, 4), nn.ReLU(), kind(2, 6))


@pytest.fixture
def declared() -> Iterator[None]:
    before = dict(WIDTH_ATTRIBUTES)
    declare_widths(Transposed, lambda layer: dict(zip(("nx", "nf"), layer.weight.shape, strict=True)))
    yield
    WIDTH_ATTRIBUTES.clear()
    WIDTH_ATTRIBUTES.update(before)


class Hidden(Transposed):
    """Its width is no integer among its attributes."""

    nf = property(lambda self: self.sizes[0], lambda self, value: setattr(self, "sizes", (value,)))


def test_a_layer_that_relies_on_an_attribute_that_nobody_finds_is_locked_until_it_is_declared() -> None:
    model = network(Hidden)
    assert discover(model, lambda m: m(X), ["0", "2"]).names == ()


def test_integers_among_the_attributes_are_found() -> None:
    assert discover(network(Transposed), lambda m: m(X), ["0", "2"]).names == ("0",)


@pytest.mark.parametrize("kind", [Transposed, Further])
def test_declared_attributes_follow_a_cut_and_a_restore(declared: None, kind: type[Transposed]) -> None:
    model = network(kind)
    grouping = discover(model, lambda m: m(X), ["0", "2"])
    assert grouping.names == ("0",)
    keep = torch.tensor([True, False, True, True, False, True])
    first, last = model[0], model[2]
    wanted = (X @ first.weight[:, keep] + first.bias[keep]).relu() @ last.weight[keep] + last.bias
    surgeon = Surgeon(model, grouping)
    dense = surgeon.snapshot()
    surgeon.cut(keep)
    assert (first.nf, last.nx) == (4, 4)
    torch.testing.assert_close(model(X), wanted)
    surgeon.restore(dense)
    assert (first.nf, last.nx) == (6, 6)


def test_hugging_face_s_layer_is_known() -> None:
    layer = Transposed(6, 4)
    assert WIDTH_ATTRIBUTES["transformers.pytorch_utils.Conv1D"](layer) == {"nx": 4, "nf": 6}


class Attention(nn.Module):
    """What a graph attention layer repeats of the shape of `att_src`."""

    def __init__(self) -> None:
        super().__init__()
        self.att_src = nn.Parameter(torch.randn(1, 4, 8))


def test_torch_geometric_s_attention_is_known() -> None:
    read = WIDTH_ATTRIBUTES["torch_geometric.nn.conv.gat_conv.GATConv"]
    assert read(Attention()) == {"heads": 4, "out_channels": 8}


def test_one_class_has_one_declaration(declared: None) -> None:
    with pytest.raises(ValueError, match="already registered"):
        declare_widths(Transposed, lambda layer: {})
