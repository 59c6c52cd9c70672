"""Sums over everything that belongs to a channel: the one reduction behind measures, criteria and observations.

Letters: G groups, W present channels of all groups, flat in group order, R rows of all tensors together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import reduce
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors as flatten

from prune_env.groups import Surgeon
from prune_env.importance.measures import REDUCED

Power = Literal["signed", "absolute", "square"]

# Below this many entries the cost is that of calling torch, so all tensors are reduced in one call; above it the cost
# is that of reading memory, so every tensor is reduced where it lies.
_ONE_CALL_ENTRIES = 2**17
# What is summed for a statistic: a power of the gradient, or of gradient x weight.
_SUMMED: dict[str, tuple[bool, Power]] = {
    "mean_abs": (False, "absolute"),
    "mean_square": (False, "square"),
    "weighted_abs": (True, "signed"),
    "weighted_square": (True, "square"),
}


class ChannelSums:
    """Sums entries of tensors (weights, gradients, products of both) over the channels they belong to.

    The tensors are those that a group's channels reach: with scope "root" the root layer's weight and bias, as the
    paper's Table 2 counts them; with scope "group" every slice of the group, normalisation and consumers included.
    After surgery, make a new one. Everything is on the parameters' device.

    Args:
        surgeon: Holds the model and its groups.
        scope: "root" or "group".
        only: Identities (`id`) of the parameters to count; by default all.

    Attributes:
        parameters: The parameters in reach; tensors that are summed have their shapes and come in this order.
    """

    def __init__(self, surgeon: Surgeon, scope: str = "root", only: Collection[int] | None = None):
        self.width = len(surgeon.present)
        named = dict(surgeon.model.named_parameters(remove_duplicate=False))
        keys = [key for key in reach(surgeon, scope) if only is None or id(named[key[0]]) in only]
        self.parameters: list[nn.Parameter] = [named[name] for name, _ in keys]
        self._dims = [dim for _, dim in keys]
        placed = self.parameters or list(surgeon.model.parameters())
        self.device, self.dtype = placed[0].device, reduce(torch.promote_types, [p.dtype for p in placed])
        position = torch.full((int(surgeon.grouping.widths.sum()) + 1,), self.width)  # of no channel: a spare place
        position[surgeon.present] = torch.arange(self.width)
        owners = [position[surgeon.owner(*key)] for key in keys]
        self._index = torch.cat([*owners, position[:0]]).to(self.device)
        sizes = [p.numel() for p in self.parameters]
        rows = [p.shape[dim] for p, dim in zip(self.parameters, self._dims, strict=True)]
        ends = np.cumsum(rows)
        self._rows_of = [slice(end - count, end) for count, end in zip(rows, ends, strict=True)]
        on_cpu = self.device.type == "cpu" and self.dtype in (torch.float32, torch.float64)
        self._one_call = on_cpu and sum(sizes) <= _ONE_CALL_ENTRIES
        lengths = np.repeat([size // n for size, n in zip(sizes, rows, strict=True)], rows)
        self._starts = np.cumsum([0, *lengths[:-1]])
        self._scratch = self._empty(sum(sizes) if self._one_call else max(sizes, default=0))
        self._product = self._empty(len(self._scratch))
        self._reduced = self._empty(len(REDUCED), sum(rows))
        self._planned: frozenset[str] | None = None

    def _empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=self.dtype, device=self.device)

    @property
    @torch.no_grad()
    def counts(self) -> Tensor:
        """Entries that a channel has, [W]."""
        return self.sum([torch.ones_like(p) for p in self.parameters], "signed")

    @torch.no_grad()
    def sum(self, tensors: Sequence[Tensor], power: Power) -> Tensor:
        """Sum x, |x| or x^2 over each channel, [W]."""
        row = self._empty(1, len(self._index))
        for i, view in enumerate(self._views(tensors)):
            self._reduce(view, [(row[0], power)], i)
        return self._to_channels(row)[0]

    @torch.no_grad()
    def gradient_sums(self, gradients: Sequence[Tensor], statistics: Collection[str] = tuple(REDUCED)) -> Tensor:
        """Sums of |g|, g^2, w g and (w g)^2 over each channel, [4, W], in the order of `REDUCED`.

        Args:
            gradients: One for each of `parameters`.
            statistics: Which are computed; the others are zero. There are always four rows: what follows must not
                depend on how many are asked for, not even in the last bit.
        """
        if self._planned != statistics:
            self._plan(frozenset(statistics))
        weights = self._views(self.parameters) if self._weighted else ()
        for i, view in enumerate(self._views(gradients)):
            self._reduce(view, self._plain, i)
            if weights:
                product = torch.mul(view, weights[i], out=self._product[: view.numel()].view_as(view))
                self._reduce(product, self._weighted, i)
        return self._to_channels(self._reduced)

    def _plan(self, statistics: frozenset[str]) -> None:
        self._planned = statistics
        self._reduced.zero_()
        wanted = [(row, *_SUMMED[s]) for row, s in zip(self._reduced, REDUCED, strict=True) if s in statistics]
        self._plain, self._weighted = ([(row, power) for row, w, power in wanted if w is x] for x in (False, True))

    def _views(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Each tensor with its channel dimension first; one flat tensor of all where they are reduced in one call."""
        rows = [t if dim == 0 else t.transpose(0, dim).contiguous() for t, dim in zip(tensors, self._dims, strict=True)]
        return [flatten(rows)] if self._one_call and rows else rows

    def _reduce(self, rows: Tensor, jobs: Sequence[tuple[Tensor, Power]], i: int) -> None:
        """Write the sums of the rows of view `i`, by power, to where the jobs say, each [R]."""
        if self._one_call:
            flat, scratch = rows.numpy(), self._scratch.numpy()
            for out, power in jobs:
                np.add.reduceat(_POWERS[power](flat, scratch), self._starts, out=out.numpy())
            return
        rows = rows.flatten(1) if rows.dim() > 1 else rows.unsqueeze(1)
        for target, power in jobs:
            out = target[self._rows_of[i]]
            if power == "square":
                torch.linalg.vector_norm(rows, 2, dim=1, out=out).square_()
            elif power == "absolute":
                torch.sum(torch.abs(rows, out=self._scratch[: rows.numel()].view_as(rows)), 1, out=out)
            else:
                torch.sum(rows, 1, out=out)

    def _to_channels(self, rows: Tensor) -> Tensor:
        sums = torch.zeros(len(rows), self.width + 1, dtype=self.dtype, device=self.device)
        return sums.index_add_(1, self._index, rows)[:, : self.width]


_POWERS: dict[Power, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "signed": lambda x, out: x,
    "absolute": lambda x, out: np.abs(x, out=out),
    "square": lambda x, out: np.multiply(x, x, out=out),
}


def reach(surgeon: Surgeon, scope: str) -> list[tuple[str, int]]:
    """The (parameter, dimension) pairs that a scope takes in, once each: several groups may share one."""
    parameters = {name for name, _ in surgeon.model.named_parameters(remove_duplicate=False)}
    slices = [s for group in surgeon.grouping.groups for s in (group.root_slices if scope == "root" else group.slices)]
    return list(dict.fromkeys((s.tensor, s.dim) for s in slices if s.tensor in parameters))


def group_means(surgeon: Surgeon) -> Tensor:
    """Matrix [G, W] that turns per-channel values into the mean over each group's present channels."""
    membership = torch.zeros(len(surgeon.grouping), len(surgeon.present))
    membership[surgeon.group_of, torch.arange(len(surgeon.present))] = 1.0
    return membership / surgeon.widths.unsqueeze(1)
