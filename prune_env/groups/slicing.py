"""The slicing plan: which channel every position of every tensor belongs to, and where the tensors are.

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

from prune_env.groups.tracing.stored import all_plain_tensors, constants, overlapping, place_of
from prune_env.groups.types import Grouping

Cuts = list[tuple[int, int]]
"""(dimension, number of the distinct position vector that it has) of one tensor."""


@dataclass
class TensorSlot:
    """One tensor of a model or target network, under all the names that it has there (tied parameters have several).

    Attributes:
        name: The first of its names.
        cuts: What is cut off it.
        is_parameter: Whether it is a parameter.
        holders: For each of its names the module (None where a list or dictionary has the tensor), the dictionary or
            list that has it, and its key there. Writing there is several times faster than `setattr`.
        same_memory: The slot whose tensor lies in the same memory, for a tie by `.data`.
        overlaps: Whether it shares a part of its memory with others; it is never cut then.
    """

    name: str
    cuts: Cuts
    is_parameter: bool
    holders: list[tuple[nn.Module | None, Any, Any]] = field(default_factory=list)
    same_memory: TensorSlot | None = None
    overlaps: bool = False

    @property
    def tensor(self) -> Tensor:
        """The tensor that is here now."""
        _, holder, key = self.holders[0]
        return holder[key]

    def assign(self, tensor: Tensor) -> None:
        """Replace the tensor wherever it is."""
        for module, holder, key in self.holders:
            if isinstance(module, nn.RNNBase):
                setattr(module, key, tensor)  # keeps the flat list of its weights up to date
            else:
                holder[key] = tensor


@dataclass
class PlainSlot:
    """An attribute that is no parameter, or a buffer that is None: never cut by itself, but remembered.

    Attributes:
        holder: The dictionary or list that has it.
        key: Its key there.
        same_memory: The slot whose tensor lies in the same memory.
    """

    holder: Any
    key: Any
    same_memory: TensorSlot | None = None

    @property
    def value(self) -> Any:
        """A copy of the tensor, or whatever else is here now."""
        value = self.holder[self.key]
        return _copied(value) if isinstance(value, Tensor) else value

    def assign(self, value: Any) -> None:
        """Put back a copy of a value, or the tie to the slot whose memory it shares."""
        old = self.holder[self.key]
        if self.same_memory is not None:
            value = self.same_memory.tensor.detach()
        elif isinstance(value, Tensor):
            if isinstance(old, Tensor) and old.is_leaf and (old.shape, old.dtype) == (value.shape, value.dtype):
                old.data.copy_(value)  # others may have it too, such as an optimizer
                return
            value = _copied(value)
        self.holder[self.key] = value


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


def slots_of(module: nn.Module, cuts: dict[str, Cuts], prefix: str = "") -> tuple[list[TensorSlot], list[PlainSlot]]:
    """All tensors of a module; `prefix` is its place in the model whose names `cuts` uses."""
    stem = f"{prefix}." if prefix else ""
    slots: dict[int, TensorSlot] = {}
    plain: list[PlainSlot] = []
    for path, child in module.named_modules():
        for register in (child._parameters, child._buffers):
            for key, tensor in register.items():
                if tensor is None:
                    plain.append(PlainSlot(register, key))
                    continue
                name = f"{path}.{key}" if path else key
                new = TensorSlot(name, cuts.get(stem + name, []), isinstance(tensor, nn.Parameter))
                slots.setdefault(id(tensor), new).holders.append((child, register, key))
    for name, holder, key in constants(module):
        if stem + name in cuts:
            slots[id(holder[key])] = TensorSlot(name, cuts[stem + name], False, [(None, holder, key)])
    in_memory: dict[Any, TensorSlot] = {}
    for slot in slots.values():
        if (place := place_of(slot.tensor)) is not None and (first := in_memory.setdefault(place, slot)) is not slot:
            slot.same_memory, slot.cuts = first, first.cuts
    for name, holder, key in all_plain_tensors(module):
        if isinstance(holder, tuple):  # it cannot be changed
            continue
        if (known := slots.get(id(holder[key]))) is None:
            plain.append(PlainSlot(holder, key, in_memory.get(place_of(holder[key]))))
        elif known.name != name:
            known.holders.append((None, holder, key))
    shared = overlapping((slot.name, slot.tensor) for slot in slots.values())
    for slot in slots.values():
        slot.overlaps = slot.name in shared
    return list(slots.values()), plain


def select(tensor: Tensor, cuts: Cuts, indices: Sequence[Tensor | None], shape: torch.Size) -> Tensor:
    """The part of a tensor that is left; dimensions whose size differs from `shape` stay whole."""
    for dim, number in cuts:
        index = indices[number]
        if index is not None and tensor.shape[dim] == shape[dim]:
            tensor = tensor.index_select(dim, index if tensor.device.type == "cpu" else index.to(tensor.device))
    return tensor


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.is_leaf and tensor.requires_grad)


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
