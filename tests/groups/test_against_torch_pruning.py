"""Our cut equals torch-pruning's own, bit for bit, wherever torch-pruning is right."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
import torch_pruning as tp
from constructs import BY_NAME, grouping_of
from networks import Case, trained
from test_surgery import random_keep
from torch import nn

from prune_env.groups import Grouping, Surgeon
from prune_env.groups.torch_pruning_check import proposals


def prune_with_torch_pruning(model: nn.Module, trace: Any, grouping: Grouping, keep: torch.Tensor) -> None:
    """The same channels, one group after the other."""
    offset = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = tp.DependencyGraph().build_dependency(
            model, torch.zeros(1), forward_fn=lambda m, _: trace(m), verbose=False
        )
    for group in grouping:
        gone = (~keep[offset : offset + group.channels]).nonzero().flatten()
        offset += group.channels
        layer = model.get_submodule(group.root)
        positions = group.root_slices[0].positions[gone].ravel().tolist()
        if positions:
            pruner = graph.get_pruner_of_module(layer)
            graph.get_pruning_group(layer, pruner.prune_out_channels, positions).prune()


def assert_same_cut(case: Case, model: nn.Module, grouping: Grouping, keep: torch.Tensor) -> None:
    theirs = copy.deepcopy(model)
    prune_with_torch_pruning(theirs, case.trace, grouping, keep)
    Surgeon(model, grouping).cut(keep)
    assert str(model) == str(theirs)
    ours = model.state_dict()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours[name], tensor), name
    assert [(n, p.shape) for n, p in model.named_parameters()] == [(n, p.shape) for n, p in theirs.named_parameters()]


ORDINARY = [
    "linear",
    "conv1d",
    "conv2d",
    "transposed convolution",
    "pooling and resizing",
    "depthwise",
    "batch norm",
    "instance norm",
    "layer norm",
    "PReLU",
    "residual",
    "gate",
    "concatenation of two, normalised",
    "module used twice in a row",
    "convolution, flatten, linear",
    "bare vectors",
]


@pytest.mark.parametrize("name", ORDINARY)
def test_same_channels_bit_for_bit(name: str) -> None:
    case = BY_NAME[name]
    model = trained(case)
    grouping = grouping_of(case.name)
    assert {group.found_by for group in grouping} == {"torch-pruning"}
    surgeon = Surgeon(copy.deepcopy(model), grouping)
    assert_same_cut(case, model, grouping, random_keep(surgeon, 2))


def test_a_network_that_torch_pruning_never_returns_from() -> None:
    case = BY_NAME["LSTM behind a linear layer"]
    assert proposals(case.build().eval(), case.trace) is not None
