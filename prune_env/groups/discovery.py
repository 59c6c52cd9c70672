"""Find the pruning groups of a network: torch-pruning proposes, and what is not certain is locked with a reason."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch_pruning as tp
from torch import Tensor, nn

from prune_env.groups.description import Group, Grouping, Kind, Role, Slice

Trace = Callable[[nn.Module], Any]


def discover(
    model: nn.Module, trace: Trace, components: Sequence[str], *, verify: bool = True, protect: Sequence[str] = ()
) -> Grouping:
    """Find the groups of `model`, whose named children `components` are its components.

    Args:
        model: The dense network; it is left exactly as it was.
        trace: Runs one sample through every entry point of the model that it is given and returns every output.
        components: Names of top-level submodules, in the order of the data's way.
        verify: Prove every group by permutation and by a dry cut; what fails is locked.
        protect: Names of components or groups to lock.

    Raises:
        ValueError: If `components` or `protect` hold unknown names.
    """
    twin = copy.deepcopy(model).eval()
    names = {m: n for n, m in twin.named_modules()}
    order: dict[nn.Module, int] = {}
    outputs: dict[int, nn.Module] = {}

    def remember(module: nn.Module, _: Any, output: Any) -> None:
        order.setdefault(module, len(order))
        if isinstance(output, Tensor):
            outputs[id(output)] = module

    handles = [m.register_forward_hook(remember) for m in twin.modules() if not any(m.children())]
    result: list[Tensor] = []

    def forward(m: nn.Module, _: Any) -> Tensor:
        result.append(trace(m))
        return result[-1] + 0

    with torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = tp.DependencyGraph().build_dependency(twin, torch.zeros(1), forward_fn=forward, verbose=False)
    for handle in handles:
        handle.remove()
    found, locked = [], []
    for proposal in graph.get_all_groups(root_module_types=(nn.Linear, nn.modules.conv._ConvNd)):
        slices, is_output = [], False
        for dep, positions in proposal:
            is_output |= isinstance(dep.target.module, tp.ops._OutputOp)
            if dep.target.module in names:
                slices += _slices(graph, dep, names[dep.target.module], np.asarray(positions), len(proposal[0].idxs))
        roots = {s.layer for s in slices if s.role == "out" and _module(twin, s.layer) in order}
        root = min(roots, key=lambda n: order[_module(twin, n)])
        owners = {s.tensor.split(".")[0] for s in slices}
        kind: Kind = "locked" if is_output else "component" if len(owners) == 1 else "coupling"
        group = Group(
            name=root,
            kind=kind,
            components=tuple(c for c in components if c in owners),
            channels=len(proposal[0].idxs),
            root=root,
            slices=tuple(slices),
            reason="it is an output of the network" if is_output else None,
        )
        (locked if is_output else found).append(group)
    found.sort(key=lambda g: order[_module(twin, g.root)])
    return Grouping(tuple(found), tuple(locked))


def _module(model: nn.Module, name: str) -> nn.Module:
    return model.get_submodule(name)


def _slices(graph: Any, dep: Any, name: str, positions: np.ndarray, channels: int) -> list[Slice]:
    module = dep.target.module
    table = positions.reshape(channels, -1)
    role: Role = "out" if graph.is_out_channel_pruning_fn(dep.handler) else "in"
    if isinstance(module, nn.Linear):
        tensors = [("weight", 0), ("bias", 0)] if role == "out" else [("weight", 1)]
    else:
        tensors = [(t, 0) for t in ("weight", "bias", "running_mean", "running_var")]
        role = "out"
    return [Slice(f"{name}.{t}", dim, table, role) for t, dim in tensors if getattr(module, t, None) is not None]
