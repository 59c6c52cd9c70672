"""What a network costs: parameters and MACs for one sample, counted on the model or predicted from its widths.

There is one definition. A multiply-accumulate is counted for every weight of a Linear or convolution and every position
of the output at which it is used (of the input, for a transposed convolution), over one `trace` of the model; biases,
normalisation, activations and functional calls on bare parameters count as parameters only.

Letters: G groups, T tensors, D dimensions of a tensor (padded with size 1), B batch of width vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prune_env.groups.description import Grouping

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTION = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)


@dataclass(frozen=True)
class Cost:
    """Parameters and multiply-accumulates of one network, or of a batch of them."""

    parameters: Any
    macs: Any


def count_cost(model: nn.Module, trace: Callable[[nn.Module], Any]) -> Cost:
    """Count the cost of the model as it stands."""
    uses = _count_uses(model, trace)
    weights = dict(model.named_parameters())
    return Cost(
        parameters=sum(p.numel() for p in weights.values()),
        macs=sum(weights[name].numel() * count for name, count in uses.items()),
    )


class CostModel:
    """Cost as a function of the groups' widths, without cutting; equal to `count_cost` on the cut model.

    Args:
        model: The dense model.
        grouping: Its groups.
        trace: The target's `trace`, over which MACs are counted.
    """

    def __init__(self, model: nn.Module, grouping: Grouping, trace: Callable[[nn.Module], Any]):
        uses = _count_uses(model, trace)
        tensors = dict(model.named_parameters())
        rows = {name: t for t, name in enumerate(tensors)}
        dims = max((p.dim() for p in tensors.values()), default=1)
        self._constant = np.ones((len(rows), max(dims, 1)), dtype=np.int64)  # [T, D]
        for name, p in tensors.items():
            self._constant[rows[name], : p.dim()] = p.shape
        self._slope = np.zeros((*self._constant.shape, len(grouping)), dtype=np.int64)  # [T, D, G]
        for g, group in enumerate(grouping.groups):
            for s in group.slices:
                if s.tensor in rows:
                    entries = s.positions.shape[1]
                    self._slope[rows[s.tensor], s.dim, g] += entries
                    self._constant[rows[s.tensor], s.dim] -= entries * group.channels
        self._uses = np.array([uses.get(name, 0) for name in tensors], dtype=np.int64)  # [T]
        self.dense = self(grouping.widths)

    def __call__(self, widths: np.ndarray) -> Cost:
        """Cost at `widths`, int [..., G]; each field of the result has shape [...]."""
        sizes = self._slope @ np.asarray(widths)[..., None, :, None]  # [..., T, D, 1]
        numel = (sizes[..., 0] + self._constant).prod(axis=-1)  # [..., T]
        return Cost(parameters=numel.sum(axis=-1), macs=numel @ self._uses)


def _count_uses(model: nn.Module, trace: Callable[[nn.Module], Any]) -> dict[str, int]:
    """How many multiplications every single entry of each weight takes part in, for one trace of one sample."""
    uses: dict[str, int] = {}
    handles = []
    names = {p: name for name, p in model.named_parameters()}

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, _TRANSPOSED):
            positions = inputs[0].numel() // module.in_channels
        elif isinstance(module, _CONVOLUTION):
            positions = output.numel() // module.out_channels
        else:
            positions = output.numel() // output.shape[-1]
        name = names[module.weight]
        uses[name] = uses.get(name, 0) + positions

    for module in model.modules():
        if isinstance(module, (nn.Linear, *_CONVOLUTION)):
            handles.append(module.register_forward_hook(count))
    training = model.training
    try:
        model.eval()
        with torch.no_grad():
            trace(model)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return uses
