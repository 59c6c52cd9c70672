"""The groups that torch-pruning proposes, and which of them are true.

torch-pruning knows layers and the shape of the autograd graph; it is right about ordinary networks and silently wrong
about others (raw inputs in concatenations, chunks, `no_grad`, reshapes, bare matrices). So a proposal counts only if
every position of it holds the channel that propagation has followed there, and nothing is missing.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from prune_env.groups.tracing.equivalence import Classes
from prune_env.groups.tracing.propagation import Trace, decomposed
from prune_env.groups.tracing.replica import replicate
from prune_env.groups.types import Group

Slot = tuple[str, int]
Proposal = dict[Slot, tuple[np.ndarray, np.ndarray]]
"""For each (tensor, dimension) positions and the root layer's channels that they belong to, int64 [C*K] both."""

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.PReLU)
_log = logging.getLogger(__name__)


def proposals(model: nn.Module, trace: Trace) -> list[Proposal]:
    """Groups by torch-pruning, each with its root layer's slots first; none if it fails on this network."""
    import torch_pruning as tp  # slow to import

    replica, run = replicate(model, trace)
    names = {module: name for name, module in replica.named_modules()}
    found: list[Proposal] = []
    try:
        with decomposed(), warnings.catch_warnings(), _bounded(tp) as group_type:
            warnings.simplefilter("ignore")
            graph = tp.DependencyGraph().build_dependency(
                replica, torch.zeros(1), forward_fn=lambda m, _: _differentiable(run(m)), verbose=False
            )
            group_type.longest = max((n for p in replica.parameters() for n in p.shape), default=1)
            group_type.most = 4 * len(graph.module2node) + 50
            found += (_read(graph, group, names) for group in graph.get_all_groups())
    except Exception as error:  # it asserts, indexes and recurses its way through networks that it does not know
        _log.debug("torch-pruning gives up: %s: %s", type(error).__name__, error)
    return found


def confirmed(classes: Classes, group: Group, proposed: list[Proposal]) -> bool:
    """Whether one of the proposals is this group, channel for channel."""
    return any(_is(classes, group, proposal) for proposal in proposed)


def _is(classes: Classes, group: Group, proposal: Proposal) -> bool:
    if {(s.tensor, s.dim) for s in group.slices} != set(proposal):
        return False
    first = next(iter(proposal))
    of_root = classes.of(*first)
    for s in group.slices:
        positions, channels = proposal[s.tensor, s.dim]  # either may lie beyond the tensor
        if not np.array_equal(np.sort(positions), np.sort(s.positions.ravel())) or channels.max() >= len(of_root):
            return False
        if (classes.of(s.tensor, s.dim)[positions] != of_root[channels]).any():
            return False
    return True


@contextmanager
def _bounded(tp: Any) -> Iterator[Any]:
    """Stop it where it follows a loop for ever (in an LSTM), or with ever more positions (through a flatten and back).

    Yields the type of group that counts.
    """

    class BoundedGroup(tp.dependency.Group):
        most = longest = 0

        def add_dep(self, dep: Any, idxs: Any) -> None:
            if len(self) >= self.most or len(idxs) > self.longest:
                raise RecursionError("a group without end")
            super().add_dep(dep, idxs)

    original, tp.dependency.graph.Group = tp.dependency.graph.Group, BoundedGroup
    try:
        yield BoundedGroup
    finally:
        tp.dependency.graph.Group = original


def _differentiable(outputs: Any) -> list[Tensor]:
    return [t + 0 for t in tree_leaves(outputs) if isinstance(t, Tensor) and t.requires_grad]


def _read(graph: Any, group: Any, names: dict[nn.Module, str]) -> Proposal:
    proposal: Proposal = {}
    for i in range(len(group)):
        dep, positions = group[i]
        for slot in _slots(graph, dep, names):
            known, channels = proposal.get(slot, (np.zeros(0, dtype=np.int64),) * 2)
            proposal[slot] = np.append(known, positions), np.append(channels, group[i].root_idxs)
    return proposal


def _slots(graph: Any, dep: Any, names: dict[nn.Module, str]) -> Iterator[Slot]:
    module, outward = dep.target.module, graph.is_out_channel_pruning_fn(dep.handler)
    if isinstance(module, nn.Parameter):
        yield graph._param_to_name[module], dep.target.pruning_dim % module.dim()
    elif isinstance(module, nn.Embedding):
        yield f"{names[module]}.weight", 1
    elif isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
        depthwise = isinstance(module, nn.modules.conv._ConvNd) and module.groups > 1
        out = int(getattr(module, "transposed", False))
        yield f"{names[module]}.weight", out if outward or depthwise else 1 - out
        if module.bias is not None and (outward or depthwise):
            yield f"{names[module]}.bias", 0
    elif isinstance(module, _NORMS):
        tensors: list[tuple[str, Tensor]] = [*module.named_parameters(recurse=False)]
        if isinstance(module, nn.modules.batchnorm._BatchNorm):  # it forgets the statistics of instance norms
            tensors += module.named_buffers(recurse=False)
        yield from ((f"{names[module]}.{name}", tensor.dim() - 1) for name, tensor in tensors if tensor.numel() > 1)
    elif module in names:
        raise NotImplementedError(f"a layer of type {type(module).__name__}")
