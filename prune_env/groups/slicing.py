"""The slicing plan: which channel every position of every tensor belongs to, and where the tensors hang.

Letters: W channels of all groups together (flat, group after group), n positions of one dimension, P positions of all
distinct dimensions together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prune_env.groups.types import Grouping

Cuts = list[tuple[int, int]]
"""(dimension, number of the distinct position vector that it has) of one tensor."""


@dataclass
class Place:
    """One tensor of a model or twin, under all the names that it has there (tied parameters have several)."""

    name: str
    cuts: Cuts
    is_parameter: bool
    owners: list[tuple[nn.Module, str]] = field(default_factory=list)
    shelves: list[dict[str, Any]] = field(default_factory=list)
    """The dictionary of each owner that holds the tensor; the way through `getattr` takes several times as long."""

    def own(self, module: nn.Module, attribute: str) -> None:
        """Note another module that has the tensor."""
        self.owners.append((module, attribute))
        self.shelves.append(module._parameters if self.is_parameter else module._buffers)

    @property
    def tensor(self) -> Tensor:
        """The tensor that hangs here now."""
        return self.shelves[0][self.owners[0][1]]

    def hang(self, tensor: Tensor) -> None:
        """Replace the tensor in every module that has it."""
        for (module, attribute), shelf in zip(self.owners, self.shelves, strict=True):
            if isinstance(module, nn.RNNBase):
                setattr(module, attribute, tensor)  # keeps the flat list of its weights up to date
            else:
                shelf[attribute] = tensor


class Positions:
    """Owner of each position: the channel's flat number in the dense network, or -1 where no group owns it.

    Many dimensions have the same owners (a layer's weight and bias, the normalisation behind it, the input of the next
    layer), so distinct vectors are kept once, strung together.
    """

    def __init__(self, grouping: Grouping, shapes: dict[str, torch.Size]):
        self._known: dict[bytes, int] = {}
        vectors: list[np.ndarray] = []
        self.cuts: dict[str, Cuts] = {}
        for (tensor, dim), owner in _owners(grouping, shapes).items():
            number = self._known.setdefault(owner.tobytes(), len(vectors))
            if number == len(vectors):
                vectors.append(owner)
            self.cuts.setdefault(tensor, []).append((dim, number))
        self._dense = np.concatenate([np.zeros(0, dtype=np.int64), *vectors])  # [P]
        self._dense_sizes = np.array([len(x) for x in vectors], dtype=np.int64)
        self.reset()

    def reset(self) -> None:
        """Back to the dense network."""
        self._owner, self._sizes = self._dense, self._dense_sizes

    def owner(self, tensor: str, dim: int) -> np.ndarray:
        """Owner of every position that is present, int64 [n]."""
        number = dict(self.cuts[tensor])[dim]
        start = int(self._sizes[:number].sum())
        return self._owner[start : start + int(self._sizes[number])]

    def keep(self, stays: np.ndarray) -> list[Tensor | None]:
        """Drop positions whose channel does not stay.

        Args:
            stays: bool [W + 1]; the last entry, which -1 finds, must be True.

        Returns:
            For each distinct vector the positions that are left, int64 [n']; None where all are.
        """
        mask = stays[self._owner]
        starts = np.cumsum(self._sizes) - self._sizes
        left = np.add.reduceat(mask, starts, dtype=np.int64) if len(starts) else self._sizes
        indices = np.flatnonzero(mask) - np.repeat(starts, left)
        changed = (left < self._sizes).tolist()
        self._owner, self._sizes = self._owner[mask], left
        parts = torch.from_numpy(indices).split(left.tolist())
        return [part if c else None for part, c in zip(parts, changed, strict=True)]


def places_of(module: nn.Module, cuts: dict[str, Cuts], prefix: str = "") -> list[Place]:
    """All tensors of a module; `prefix` is its place in the model whose names `cuts` uses."""
    stem = f"{prefix}." if prefix else ""
    found: dict[int, Place] = {}
    for path, child in module.named_modules():
        for attribute, tensor in [*child._parameters.items(), *child._buffers.items()]:
            if tensor is not None:
                name = f"{path}.{attribute}" if path else attribute
                new = Place(name, cuts.get(stem + name, []), isinstance(tensor, nn.Parameter))
                found.setdefault(id(tensor), new).own(child, attribute)
    return list(found.values())


def select(tensor: Tensor, cuts: Cuts, indices: Sequence[Tensor | None], shape: torch.Size) -> Tensor:
    """The part of a tensor that is left; dimensions that differ from `shape` (factored statistics) are let be."""
    for dim, number in cuts:
        index = indices[number]
        if index is not None and tensor.shape[dim] == shape[dim]:
            tensor = tensor.index_select(dim, index if tensor.device.type == "cpu" else index.to(tensor.device))
    return tensor


def _owners(grouping: Grouping, shapes: dict[str, torch.Size]) -> dict[tuple[str, int], np.ndarray]:
    owners: dict[tuple[str, int], np.ndarray] = {}
    offset = 0
    for group in grouping.groups:
        for s in group.slices:
            if s.tensor not in shapes:
                raise ValueError(f"group {group.name!r} has the tensor {s.tensor!r}, which this model lacks")
            size = shapes[s.tensor][s.dim]
            if s.positions.max() >= size:
                raise ValueError(
                    f"group {group.name!r} reaches position {s.positions.max()} of dimension {s.dim} of {s.tensor!r}, "
                    f"which has {size}: the grouping belongs to another model, or this one is cut already"
                )
            owner = owners.setdefault((s.tensor, s.dim), np.full(size, -1, dtype=np.int64))
            if (owner[s.positions] >= 0).any():
                raise ValueError(f"two groups claim the same positions of dimension {s.dim} of {s.tensor!r}")
            owner[s.positions] = offset + np.arange(group.channels)[:, None]
        offset += group.channels
    return owners
