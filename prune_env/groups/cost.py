"""What a network costs: parameters and MACs for one sample, counted on the model or predicted from its widths.

There is one definition. A multiply-accumulate is counted for every weight of a Linear or convolution and every position
of the output at which it is used (of the input, for a transposed convolution), over one `trace` of the model; biases,
normalisation, activations and functional calls on bare parameters count as parameters only.

Letters: G groups, T tensors, D dimensions of a tensor (padded with size 1), B batch of width vectors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prune_env.groups.layer_attributes import weight_of
from prune_env.groups.tracing.propagation import Trace, copied, following
from prune_env.groups.types import Grouping

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_COUNTED = (nn.Linear, nn.modules.conv._ConvNd)

Watcher = Callable[[str, Tensor, int], None]
"""Called with a weight's name, the tensor that says how often it is used, and that tensor's channel dimension."""


@dataclass(frozen=True)
class Cost:
    """Parameters and multiply-accumulates of one network, or of a batch of them."""

    parameters: Any
    macs: Any


def count_cost(model: nn.Module, trace: Trace, idle: Sequence[str] = ()) -> Cost:
    """Count the cost of the model as it stands, less its `idle` components; it is left as it was."""
    uses: Counter[str] = Counter()

    def see(weight: str, tensor: Tensor, channels: int) -> None:
        uses[weight] += tensor.numel() // tensor.shape[channels]

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
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters() if _component(name) not in idle}
    return Cost(
        parameters=sum(sizes.values()), macs=sum(sizes[name] * count for name, count in uses.items() if name in sizes)
    )


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
        tensors = {name: p for name, p in model.named_parameters() if _component(name) not in idle}
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
        self._varying: list[tuple[int, np.ndarray, np.ndarray]] = []
        for weight, sizes in _uses_by_width(model, grouping, trace):
            if weight not in rows:
                continue
            if any(steepness.any() for _, steepness in sizes):
                self._varying.append((rows[weight], np.array([c for c, _ in sizes]), np.stack([s for _, s in sizes])))
            else:
                self._uses[rows[weight]] += np.prod([size for size, _ in sizes])
        self.dense = self(grouping.widths)

    def __call__(self, widths: np.ndarray) -> Cost:
        """Cost at `widths`, int [..., G]; each field of the result is int64 [...]."""
        widths = np.asarray(widths, dtype=np.float64)
        sizes = widths @ self._slope + self._constant  # [..., T*D]
        numel = sizes.reshape(*widths.shape[:-1], *self._shape).prod(axis=-1)  # [..., T]
        macs = numel @ self._uses
        for row, constant, slope in self._varying:
            macs = macs + numel[..., row] * (widths @ slope.T + constant).prod(axis=-1)
        return Cost(parameters=numel.sum(axis=-1).astype(np.int64), macs=macs.astype(np.int64))


Size = tuple[float, np.ndarray]
"""A size as a function of widths: a constant and a slope [G]."""


def _uses_by_width(model: nn.Module, grouping: Grouping, trace: Trace) -> list[tuple[str, list[Size]]]:
    """For every call of every counted layer its weight, and the sizes whose product says how often that is used.

    Where a layer runs over another group's channels as if they were a batch, its uses depend on that group's width.
    """
    calls: list[tuple[str, list[np.ndarray]]] = []
    twin = copied(model).eval()
    with following(twin) as dense:

        def see(weight: str, tensor: Tensor, channels: int) -> None:
            dims = list(dense.dims(tensor))
            del dims[channels]
            calls.append((weight, [factor for dim in dims for factor in dim]))

        _watch(twin, see)
        trace(twin)
    classes = dense.ledger.classes()[0]
    group_of = np.full(int(classes.max(initial=-1)) + 1, -1)
    for g, group in enumerate(grouping.groups):
        for s in group.slices:
            group_of[classes[dense.seeds[s.tensor][s.dim][0][s.positions]]] = g

    def size(factor: np.ndarray) -> Size:
        groups = np.where(factor < 0, -1, group_of[classes[np.maximum(factor, 0)]])
        present = np.bincount(groups[groups >= 0], minlength=len(grouping))
        return float((groups < 0).sum()), present / grouping.widths

    return [(weight, [size(factor) for factor in factors]) for weight, factors in calls]


def _component(parameter: str) -> str:
    return parameter.partition(".")[0]


def _watch(model: nn.Module, see: Watcher) -> list[Any]:
    """Call `see` whenever a counted layer runs; returns the handles that end it."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}

    def hook(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = names[id(weight_of(module))]
        if isinstance(module, nn.Linear):
            see(weight, output, output.dim() - 1)
        else:
            tensor = inputs[0] if isinstance(module, _TRANSPOSED) else output
            see(weight, tensor, tensor.dim() - 1 - len(module.kernel_size))

    return [module.register_forward_hook(hook) for module in model.modules() if isinstance(module, _COUNTED)]
