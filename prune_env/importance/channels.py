"""Sums over everything that belongs to a channel: the one reduction behind measures, criteria and observations.

Letters: G groups, W present channels of all groups, flat in group order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from prune_env.groups import Surgeon

Scope = Literal["root", "group"]
Power = Literal["signed", "absolute", "square"]

# Below this many entries the cost is that of calling torch, so all tensors are reduced in one call; above it the cost
# is that of reading memory, so every tensor is reduced where it lies.
_ONE_CALL_ENTRIES = 2**17


class ChannelSums:
    """Sums entries of tensors (weights, gradients, products of both) over the channels they belong to.

    The tensors are those that a group's channels reach: with scope "root" the root layer's weight and bias, as the
    paper's Table 2 counts them; with scope "group" every slice of the group, normalisation and consumers included.
    After surgery, make a new one.

    Attributes:
        parameters: The parameters in reach; tensors that are summed have their shapes and come in this order.
        counts: Entries that a channel has in them, float [W].
    """

    def __init__(self, surgeon: Surgeon, scope: Scope = "root"):
        self.width = len(surgeon.present)
        named = dict(surgeon.model.named_parameters(remove_duplicate=False))
        position = torch.full(
            (int(surgeon.grouping.widths.sum()) + 1,), self.width
        )  # rows of no channel: a spare place
        position[surgeon.present] = torch.arange(self.width)
        keys = reach(surgeon, scope)
        self.parameters: list[nn.Parameter] = [named[name] for name, _ in keys]
        self._dims = [dim for _, dim in keys]
        self._index = torch.cat([position[surgeon.owner(*key)] for key in keys])
        sizes = [p.numel() for p in self.parameters]
        rows = [p.shape[dim] for p, dim in zip(self.parameters, self._dims, strict=True)]
        self._one_call = sum(sizes) <= _ONE_CALL_ENTRIES
        lengths = np.repeat([size // n for size, n in zip(sizes, rows, strict=True)], rows)
        self._starts = np.concatenate([[0], lengths.cumsum()[:-1]])
        self._scratch = torch.empty(0 if self._one_call else max(sizes))
        self.counts = self.sum([torch.ones_like(p) for p in self.parameters], "signed")

    def sum(self, tensors: Sequence[Tensor], power: Power) -> Tensor:
        """Sum x, |x| or x^2 over each channel, [W]."""
        rows = self._rows(tensors)
        if self._one_call:
            return self._to_channels(_segments(torch.cat([r.reshape(-1) for r in rows]), power, self._starts))
        return self._to_channels(torch.cat([self._reduce(r, power) for r in rows]))

    def gradient_sums(self, gradients: Sequence[Tensor]) -> Tensor:
        """Sums of |g|, g^2, w g and (w g)^2 over each channel, [4, W]."""
        rows, weights = self._rows(gradients), self._rows([p.detach() for p in self.parameters])
        if self._one_call:
            flat, weight = (torch.cat([r.reshape(-1) for r in side]) for side in (rows, weights))
            product = flat * weight
            powers: tuple[Power, ...] = ("absolute", "square", "signed", "square")
            parts = zip((flat, flat, product, product), powers, strict=True)
            return torch.stack([self._to_channels(_segments(x, power, self._starts)) for x, power in parts])
        reduced: list[list[Tensor]] = [[], [], [], []]
        for gradient, weight in zip(rows, weights, strict=True):
            reduced[0].append(self._reduce(gradient, "absolute"))
            reduced[1].append(self._reduce(gradient, "square"))
            product = torch.mul(gradient, weight, out=self._scratch[: gradient.numel()].view_as(gradient))
            reduced[2].append(self._reduce(product, "signed"))
            reduced[3].append(self._reduce(product, "square"))
        return torch.stack([self._to_channels(torch.cat(rows)) for rows in reduced])

    def _rows(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Each tensor with its channel dimension first."""
        return [t if dim == 0 else t.transpose(0, dim).contiguous() for t, dim in zip(tensors, self._dims, strict=True)]

    def _reduce(self, tensor: Tensor, power: Power) -> Tensor:
        """Reduce all dimensions but the first; fresh memory for a large temporary would cost more than the sum."""
        rows = tensor.flatten(1) if tensor.dim() > 1 else tensor.unsqueeze(1)
        if power == "square":
            return torch.linalg.vector_norm(rows, 2, dim=1).square_()
        if power == "absolute":
            rows = torch.abs(rows, out=self._scratch[: rows.numel()].view_as(rows))
        return rows.sum(1)

    def _to_channels(self, rows: Tensor) -> Tensor:
        return torch.zeros(self.width + 1).index_add_(0, self._index, rows)[: self.width]


def _segments(flat: Tensor, power: Power, starts: np.ndarray) -> Tensor:
    """Sum x, |x| or x^2 over the segments of a flat tensor that begin at `starts`."""
    flat = flat.abs() if power == "absolute" else flat * flat if power == "square" else flat
    return torch.from_numpy(np.add.reduceat(flat.numpy(), starts))


def reach(surgeon: Surgeon, scope: Scope) -> list[tuple[str, int]]:
    """The (parameter, dimension) pairs that a scope takes in, once each: several groups may share one."""
    parameters = {name for name, _ in surgeon.model.named_parameters(remove_duplicate=False)}
    slices = [s for group in surgeon.grouping.groups for s in (group.root_slices if scope == "root" else group.slices)]
    return list(dict.fromkeys((s.tensor, s.dim) for s in slices if s.tensor in parameters))


def group_means(surgeon: Surgeon) -> Tensor:
    """Matrix [G, W] that turns per-channel values into the mean over each group's present channels."""
    membership = torch.zeros(len(surgeon.grouping), len(surgeon.present))
    membership[surgeon.group_of, torch.arange(len(surgeon.present))] = 1.0
    return membership / surgeon.widths.unsqueeze(1)
