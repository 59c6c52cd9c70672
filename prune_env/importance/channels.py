"""Sums over everything that belongs to a channel: the one reduction behind measures, criteria and observations.

Letters: G groups, W present channels of all groups, flat in group order; P entries of all tensors in reach.
"""

from __future__ import annotations

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
    `gather` brings a list of tensors into blocks, on which any elementwise arithmetic may be done before `sum`.
    After surgery, make a new one.

    Attributes:
        parameters: The parameters in reach; `gather` takes tensors of their shapes in this order.
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
        self._one_call = sum(p.numel() for p in self.parameters) <= _ONE_CALL_ENTRIES
        rows = [p.shape[dim] for p, dim in zip(self.parameters, self._dims, strict=True)]
        lengths = np.repeat([p.numel() // n for p, n in zip(self.parameters, rows, strict=True)], rows)
        self._starts = np.concatenate([[0], lengths.cumsum()[:-1]])
        self.counts = self.sum(self.gather([torch.ones_like(p) for p in self.parameters]), "signed")

    def gather(self, tensors: list[Tensor]) -> list[Tensor]:
        """Bring tensors into blocks for arithmetic and `sum`: one flat block [P] if they are small, else one each."""
        rows = [t if dim == 0 else t.transpose(0, dim).contiguous() for t, dim in zip(tensors, self._dims, strict=True)]
        return [torch.cat([t.reshape(-1) for t in rows])] if self._one_call else rows

    def sum(self, blocks: list[Tensor], power: Power) -> Tensor:
        """Sum x, |x| or x^2 over each channel, [W]."""
        if self._one_call:
            flat = blocks[0]
            flat = flat.abs() if power == "absolute" else flat * flat if power == "square" else flat
            rows = torch.from_numpy(np.add.reduceat(flat.numpy(), self._starts))
        else:
            rows = torch.cat([_reduce_rows(block, power) for block in blocks])
        return torch.zeros(self.width + 1).index_add_(0, self._index, rows)[: self.width]


def reach(surgeon: Surgeon, scope: Scope) -> list[tuple[str, int]]:
    """The (parameter, dimension) pairs that a scope takes in, once each: several groups may share one."""
    parameters = {name for name, _ in surgeon.model.named_parameters(remove_duplicate=False)}
    slices = [s for group in surgeon.grouping.groups for s in (group.root_slices if scope == "root" else group.slices)]
    return list(dict.fromkeys((s.tensor, s.dim) for s in slices if s.tensor in parameters))


def _reduce_rows(block: Tensor, power: Power) -> Tensor:
    """Reduce all dimensions but the first, with as few temporaries as torch allows."""
    rows = block.flatten(1) if block.dim() > 1 else block.unsqueeze(1)
    if power == "square":
        return torch.linalg.vector_norm(rows, 2, dim=1).square_()
    return (rows.abs() if power == "absolute" else rows).sum(1)


def group_means(surgeon: Surgeon) -> Tensor:
    """Matrix [G, W] that turns per-channel values into the mean over each group's present channels."""
    membership = torch.zeros(len(surgeon.grouping), len(surgeon.present))
    membership[surgeon.group_of, torch.arange(len(surgeon.present))] = 1.0
    return membership / surgeon.widths.unsqueeze(1)
