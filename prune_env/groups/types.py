"""What can be removed from a network: plain, picklable descriptions of its pruning groups.

Letters: G groups, C channels of one group, K entries that one channel has along a dimension (1 for the unit of a
Linear, H*W behind a flattened convolution).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

Kind = Literal["component", "coupling", "locked"]
Role = Literal["out", "in"]
Finder = Literal["torch-pruning", "propagation"]


@dataclass(frozen=True, eq=False)
class Slice:
    """Where the channels of a group lie along one dimension of one tensor.

    Attributes:
        tensor: Qualified name of the parameter or buffer, e.g. `"encoder.0.weight"`.
        dim: The dimension along which channels are removed.
        positions: int64 [C, K]; row c lists the positions that channel c has along `dim`.
        role: "out" where the layer produces the channel (or scales it), "in" where it consumes it.
    """

    tensor: str
    dim: int
    positions: np.ndarray
    role: Role

    @property
    def layer(self) -> str:
        """Qualified name of the module that holds the tensor, or the tensor's own name where none does."""
        return layer_of(self.tensor)


@dataclass(frozen=True)
class Counter:
    """An attribute of a module that counts channels of a group, such as a number of heads, and follows its width.

    Attributes:
        module: Qualified name of the module.
        name: The attribute's name.
        per_channel: What it counts for each channel.
    """

    module: str
    name: str
    per_channel: int


@dataclass(frozen=True, eq=False)
class Group:
    """Channels of one index class: what must be removed together.

    Attributes:
        name: The root layer's qualified name.
        kind: "component" if all members lie in one component, "coupling" if in several, "locked" if it is not prunable.
        components: Owners of the members, in the target's order.
        channels: C, how many channels the dense network has.
        root: Qualified name of the layer that produces the channels (the first, where several do).
        slices: Every tensor slice that goes when a channel goes.
        reason: Why a locked group is locked, in words; None otherwise.
        least: Channels that it must keep for the network to stay finite; 1 but for such as a standard deviation.
        found_by: Who proposed it; whoever it was, it has passed the same proofs.
        counters: Attributes of modules that a cut must change for the network to run.
    """

    name: str
    kind: Kind
    components: tuple[str, ...]
    channels: int
    root: str
    slices: tuple[Slice, ...]
    reason: str | None = None
    least: int = 1
    found_by: Finder = "propagation"
    counters: tuple[Counter, ...] = ()

    @property
    def members(self) -> tuple[str, ...]:
        """The layers that lose something when a channel goes, without repetition, in order."""
        return tuple(dict.fromkeys(s.layer for s in self.slices))

    @property
    def root_slices(self) -> tuple[Slice, ...]:
        """Slices of the root layer's own weight and bias, whose size the paper's Table 2 counts."""
        return tuple(s for s in self.slices if s.layer == self.root and s.role == "out")


@dataclass(frozen=True, eq=False)
class Grouping:
    """The result of discovery: the prunable groups in the order of the data's way, and the locked ones."""

    groups: tuple[Group, ...]
    locked: tuple[Group, ...] = ()

    def __len__(self) -> int:
        return len(self.groups)

    def __iter__(self):
        return iter(self.groups)

    def __getitem__(self, name: str) -> Group:
        for group in self.groups + self.locked:
            if group.name == name:
                return group
        raise KeyError(f"no group {name!r}; known: {', '.join(g.name for g in self.groups + self.locked)}")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the prunable groups."""
        return tuple(g.name for g in self.groups)

    @cached_property
    def least(self) -> np.ndarray:
        """Channels that each prunable group must keep, int64 [G]."""
        return np.array([g.least for g in self.groups], dtype=np.int64)

    @cached_property
    def widths(self) -> np.ndarray:
        """Channels of each prunable group in the dense network, int64 [G]."""
        return np.array([g.channels for g in self.groups], dtype=np.int64)


def layer_of(tensor: str) -> str:
    """The layer that a tensor belongs to, looking through parametrizations; a bare parameter is its own layer."""
    layer, parametrized, _ = tensor.partition(".parametrizations.")
    return layer if parametrized else tensor.rpartition(".")[0] or tensor
