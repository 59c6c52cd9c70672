"""The comparison finds groups that were broken on purpose, and tells which reference each kind of group agrees with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from comparison_with_dense import Comparison
from torch import nn

from prune_env.groups import Grouping, discover

X = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def comparison(*layers: nn.Module, shift: bool = False, without: bool = False) -> Comparison:
    """Of a network whose only group may pair its reader's channels wrongly, or lack the reader."""
    torch.manual_seed(0)
    model = nn.Sequential(*layers).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    found = discover(model, lambda m: m(X), [name for name, _ in model.named_children()])
    (group,) = found.groups
    *slices, last = group.slices
    assert last.role == "in"
    if shift:
        slices.append(replace(last, positions=np.roll(last.positions, 1, axis=0)))
    elif not without:
        slices.append(last)
    return Comparison(model, lambda m: m(X), Grouping((replace(group, slices=tuple(slices)),), found.locked))


def verdict(*layers: nn.Module, shift: bool = False, without: bool = False) -> str:
    compared = comparison(*layers, shift=shift, without=without)
    return compared.verdict(compared.grouping.groups[0])


def test_plain_layers_agree_with_the_masked_network() -> None:
    assert verdict(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)) == "masked"


def test_normalised_layers_agree_with_the_duplicated_one() -> None:
    assert verdict(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 2)) == "duplicated"
    assert verdict(nn.Linear(6, 7), nn.LayerNorm(7), nn.Linear(7, 2)) == "two steps"


@pytest.mark.parametrize("norm", [nn.Identity, nn.LayerNorm])
@pytest.mark.parametrize("width", [3, 4, 8])
def test_channels_that_are_paired_wrongly_are_found(norm: type[nn.Module], width: int) -> None:
    layers = (nn.Linear(6, width), norm(width), nn.Linear(width, 2))
    assert verdict(*layers, shift=True) == "wrong: its channels do not belong together"


def test_two_channels_that_cannot_be_told_are_unproved() -> None:
    assert verdict(nn.Linear(6, 2), nn.Tanh(), nn.Linear(2, 2), shift=True) == "unproved"


def test_a_missing_reader_is_found() -> None:
    assert verdict(nn.Linear(6, 8), nn.Linear(8, 2), without=True).startswith("wrong: the cut network fails")


def test_the_dense_network_is_left_as_it_was() -> None:
    compared = comparison(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 2))
    compared.verdict(compared.grouping.groups[0])
    assert all(torch.equal(a, b) for a, b in zip(compared.run(), compared.dense, strict=True))
