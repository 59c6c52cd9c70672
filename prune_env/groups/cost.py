"""What a network costs: parameters and MACs for one sample, counted on the model or predicted from its widths.

There is one definition. A multiply-accumulate is counted for every weight of a Linear or convolution and every position
of the output at which it is used (of the input, for a transposed convolution), over one `trace` of the model; biases,
normalisation, activations and functional calls on bare parameters count as parameters only.

Letters: G groups, T tensors, D dimensions of a tensor (padded with size 1), B batch of width vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from prune_env.groups.layer_attributes import weight_of
from prune_env.groups.tracing.labels import Dim
from prune_env.groups.tracing.propagation import Trace, following
from prune_env.groups.tracing.randomize import undisturbed
from prune_env.groups.tracing.replica import replicate, unchanged
from prune_env.groups.tracing.stored import place_of
from prune_env.groups.types import Grouping

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_COUNTED = (nn.Linear, nn.modules.conv._ConvNd)

Watcher = Callable[[str, Tensor, Tensor, int], None]
"""Called with a weight's name, a tensor of its shape, one that says how often it is used, and its channel dimension."""


@dataclass(frozen=True)
class Cost:
    """Parameters and multiply-accumulates of one network, or of a batch of them."""

    parameters: Any
    macs: Any


def count_cost(model: nn.Module, trace: Trace, idle: Sequence[str] = ()) -> Cost:
    """Count the cost of the model as it stands, less its `idle` components; it is left as it was."""
    macs = 0

    def see(name: str, weight: Tensor, tensor: Tensor, channels: int) -> None:
        nonlocal macs
        if not _is_idle(name, idle):
            sizes = list(tensor.shape)
            del sizes[channels]
            macs += weight.numel() * math.prod(sizes)

    modes = {module: module.training for module in model.modules()}
    handles = _watch(model, see)
    try:
        with torch.no_grad():
            trace(model.eval())
    finally:
        for module, training in modes.items():
            module.training = training
        for handle in handles:
            handle.remove()
    return Cost(parameters=sum(p.numel() for name, p in _parameters(model) if not _is_idle(name, idle)), macs=macs)


def idle_components(model: nn.Module, deploy: Trace, components: Sequence[str]) -> tuple[str, ...]:
    """Components that a deployment does not run: none of their parameters and buffers is read in one pass.

    Args:
        model: The model; it is left as it was.
        deploy: One sample's way through what is deployed.
        components: Names of submodules. Other children of the model that hold parameters are judged alike.
    """
    others = [name for name, child in model.named_children() if any(True for _ in child.parameters())]
    components = tuple(dict.fromkeys((*components, *others)))
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad(), _StoragesRead() as read:
            deploy(model.eval())
    finally:
        for module, training in modes.items():
            module.training = training

    def runs(component: str) -> bool:
        module = model.get_submodule(component)
        return any(_storage(x) in read.storages for x in (*module.parameters(), *module.buffers()))

    return tuple(component for component in components if not runs(component))


class CostModel:
    """Cost as a function of the groups' widths, without cutting; equal to `count_cost` on the cut model.

    Args:
        model: The dense model; it is left as it was.
        grouping: Its groups.
        trace: One sample's way through the model, over which MACs are counted.
        idle: Components that cost nothing, whatever their size.

    Attributes:
        dense: Cost of the dense model.
    """

    def __init__(self, model: nn.Module, grouping: Grouping, trace: Trace, idle: Sequence[str] = ()):
        self._grouping = grouping
        tensors = {name: p for name, p in _parameters(model) if not _is_idle(name, idle)}
        rows = {name: t for t, name in enumerate(tensors)}
        dims = max([1, *(p.dim() for p in tensors.values())])
        constant = np.ones((len(rows), dims))  # [T, D]
        for name, p in tensors.items():
            constant[rows[name], : p.dim()] = p.shape
        slope = np.zeros((*constant.shape, len(grouping)))  # [T, D, G]
        for g, group in enumerate(grouping.groups):
            for s in group.slices:
                if s.tensor in rows:
                    entries = s.positions.shape[1]
                    slope[rows[s.tensor], s.dim, g] += entries
                    constant[rows[s.tensor], s.dim] -= entries * group.channels
        self._shape = constant.shape
        self._constant = constant.ravel()  # [T*D]; doubles are exact up to 2**53, and their products use BLAS
        self._slope = slope.reshape(constant.size, len(grouping)).T.copy()  # [G, T*D]
        self._uses = np.zeros(len(rows))  # [T]
        self._varying: list[tuple[np.ndarray, np.ndarray]] = []
        self._tensors: list[tuple[np.ndarray, np.ndarray]] = []  # sizes of what each call computes, or spreads
        for name, weight, positions, tensor in _uses_by_width(model, grouping, trace):
            if _is_idle(name, idle):
                continue
            self._tensors.append((np.array([c for c, _ in tensor]), np.array([s for _, s in tensor])))
            if name in rows and not any(steepness.any() for _, steepness in positions):
                self._uses[rows[name]] += np.prod([size for size, _ in positions])
            else:
                sizes = [*weight, *positions]
                self._varying.append((np.array([c for c, _ in sizes]), np.array([s for _, s in sizes])))
        self.dense = self(grouping.widths)

    def __call__(self, widths: np.ndarray) -> Cost:
        """Cost at `widths`, int [..., G]; each field of the result is int64 [...]."""
        widths = np.asarray(widths, dtype=np.float64)
        sizes = widths @ self._slope + self._constant  # [..., T*D]
        numel = sizes.reshape(*widths.shape[:-1], *self._shape).prod(axis=-1)  # [..., T]
        macs = numel @ self._uses
        for constant, slope in self._varying:
            macs = macs + (widths @ slope.T + constant).prod(axis=-1)
        return Cost(parameters=numel.sum(axis=-1).astype(np.int64), macs=macs.astype(np.int64))

    def activations(self, widths: np.ndarray) -> np.ndarray:
        """Numbers that the counted layers compute for one sample, at widths int [..., G], int64 [...].

        Outputs of linear and convolution layers; of transposed convolutions, which spread them, the inputs.
        """
        widths = np.asarray(widths, dtype=np.float64)
        numbers = np.zeros(widths.shape[:-1])
        for constant, slope in self._tensors:
            numbers = numbers + (widths @ slope.T + constant).prod(axis=-1)
        return numbers.astype(np.int64)

    def macs_by_layer(self, widths: np.ndarray) -> np.ndarray:
        """Multiply-accumulates of every layer that is counted, at widths [..., G], float64 [..., L]."""
        widths = np.asarray(widths, dtype=np.float64)
        sizes = widths @ self._slope + self._constant
        used = self._uses > 0
        numel = sizes.reshape(*widths.shape[:-1], *self._shape).prod(axis=-1)
        varying = [(widths @ slope.T + constant).prod(axis=-1)[..., None] for constant, slope in self._varying]
        return np.concatenate([numel[..., used] * self._uses[used], *varying], axis=-1)


Factors = list[np.ndarray]
Size = tuple[float, np.ndarray]
"""A size as a function of widths: a constant and a slope [G]."""


def _uses_by_width(
    model: nn.Module, grouping: Grouping, trace: Trace
) -> list[tuple[str, list[Size], list[Size], list[Size]]]:
    """For every call of every counted layer its weight's name, and sizes: of the weight, its uses, and its outputs.

    Where a layer runs over another group's channels as if they were a batch, its uses depend on that group's width.
    """
    calls: list[tuple[str, Factors, Factors, Factors]] = []
    with undisturbed(), unchanged(model):
        replica, run = replicate(model, trace)
        with following(replica.eval()) as dense:

            def see(name: str, weight: Tensor, tensor: Tensor, channels: int) -> None:
                if not tensor.numel() or not weight.numel():
                    return  # labels do not tell a dimension of size 0 from one of size 1
                dims = list(dense.dims(tensor))
                outputs = _factors(dims)
                del dims[channels]
                calls.append((name, _factors(dense.dims(weight)), _factors(dims), outputs))

            _watch(replica, see)
            run(replica)
    channels = [
        np.concatenate([dense.seeds[s.tensor][s.dim][0][s.positions] for s in group.slices], axis=1)
        for group in grouping.groups
    ]
    classes = dense.ledger.conclude(tied=channels).of_label
    group_of = np.full(int(classes.max(initial=-1)) + 1, -1)
    for g, labels in enumerate(channels):
        group_of[classes[labels]] = g

    none = np.zeros(len(grouping))

    def size(factor: np.ndarray) -> Size:
        groups = np.where(factor < 0, -1, group_of[classes[np.maximum(factor, 0)]])
        present = np.bincount(groups[groups >= 0], minlength=len(grouping))
        return float((groups < 0).sum()), present / grouping.widths

    return [
        (name, [*map(size, weight), (1.0, none)], [*map(size, uses)], [*map(size, outputs), (1.0, none)])
        for name, weight, uses, outputs in calls
    ]


def _factors(dims: Sequence[Dim]) -> Factors:
    return [factor for dim in dims for factor in dim]


def _is_idle(name: str, idle: Sequence[str]) -> bool:
    """Whether a tensor belongs to an idle component, which may lie in another one."""
    return any(f"{name}.".startswith(f"{component}.") for component in idle)


class _StoragesRead(TorchDispatchMode):
    """Remembers the storage of every tensor that an operator reads."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.storages |= {_storage(x) for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        return func(*args, **(kwargs or {}))


def _storage(tensor: Tensor) -> int:
    """A number that tensors in the same memory share, also those without values."""
    return int(tensor.untyped_storage()._cdata)


def _parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Parameters by name; those that lie in the same memory are one."""
    found: dict[Any, tuple[str, nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        found.setdefault(place_of(parameter) or id(parameter), (name, parameter))
    return list(found.values())


def _watch(model: nn.Module, see: Watcher) -> list[Any]:
    """Call `see` whenever a counted layer runs; returns the handles that end it."""
    names = {place_of(parameter) or id(parameter): name for name, parameter in _parameters(model)}

    def watched(path: str, layer: nn.Module) -> Any:
        def hook(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            weight = weight_of(module)
            if weight is None:
                return
            name = names.get(place_of(weight) or id(weight), f"{path}.weight")
            if isinstance(module, nn.Linear):
                see(name, weight, output, output.dim() - 1)
            else:
                tensor = inputs[0] if isinstance(module, _TRANSPOSED) else output
                see(name, weight, tensor, tensor.dim() - 1 - len(module.kernel_size))

        return layer.register_forward_hook(hook)

    return [watched(path, module) for path, module in model.named_modules() if isinstance(module, _COUNTED)]
