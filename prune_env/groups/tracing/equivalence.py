"""From the labels of one trace to groups: channels that lie in the same dimensions of the same tensors belong together.

Letters: C channels of one group, K entries of one channel along a dimension, L labels, N classes, P positions of all
slots together (a slot is one dimension of one tensor).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from prune_env.groups.tracing.propagation import Propagation
from prune_env.groups.tracing.shares import Option
from prune_env.groups.types import Group, Kind, Role, Slice, layer_of

_NO_PRODUCER = "no layer of the network makes its channels"
_ALONE = "all its channels hang together, so that none can be removed alone"
_NO_USE = "nothing is computed from its channels: perhaps it is an output that the trace does not return"
_UNREACHED = "the trace does not reach it"


class Classes:
    """What a dense trace has taught: which positions of which tensors are the same channel.

    Args:
        dense: The trace.
        components: Names of the components.
        options: What the channels of split dimensions are, where there is a choice; see `shares.conclude`.

    Attributes:
        dense: The trace.
        of_label: Class of every label, int64 [L].
        free: Where there was a choice; see `shares.Conclusion`.
        slots: (tensor, dimension) of everything that has more than one position.
    """

    def __init__(self, dense: Propagation, components: Sequence[str], options: Mapping[int, Option] | None = None):
        self.dense = dense
        conclusion = dense.ledger.conclude(options)
        self.of_label, self._locked, self.free = conclusion.of_label, conclusion.locked, conclusion.free
        self._connected = conclusion.connected
        self.slots = [(name, i) for name, dims in dense.seeds.items() for i, dim in enumerate(dims) if dim]
        self._components = components
        produced, consumed = (self._mark(labels) for labels in (dense.produced, dense.consumed))
        self._of_use = set(self.of_label[self._mark(dense.summed)].tolist())
        self._produced = {s for s in self.slots if produced[self._labels(*s)].any()}
        self._consumed = {s for s in self.slots if consumed[self._labels(*s)].any()}

    @property
    def count(self) -> int:
        """N, how many classes there are."""
        return int(self.of_label.max(initial=-1)) + 1

    def of(self, tensor: str, dim: int) -> np.ndarray:
        """Class of every position of a dimension, int64 [n]."""
        return self.of_label[self._labels(tensor, dim)]

    def connected(self, group: Group) -> set[int]:
        """Numbers of the connected sets of choices that a group depends on."""
        return {
            int(i) for s in group.slices for i in np.unique(self._connected[self._labels(s.tensor, s.dim)[s.positions]])
        }

    def locked(self, classes: np.ndarray) -> str | None:
        """Why one of these classes is locked, or None."""
        return next((self._locked[c] for c in classes.ravel().tolist() if c in self._locked), None)

    def groups(self) -> list[Group]:
        """All groups in the order of the data's way; those whose classes are locked are of kind "locked"."""
        found = [self._describe(slots, classes, positions) for slots, classes, positions in self._partition()]
        reported = [group for group in found if group is not None]
        reported += self._unexplained({s.tensor for group in reported for s in group.slices})
        reported.sort(key=lambda group: self._when((group.root_slices or group.slices)[0].tensor))
        return _with_unique_names(reported)

    def kind_of(self, slices: Sequence[Slice]) -> tuple[Kind, tuple[str, ...]]:
        """Whether members lie in one component or in several, and in which; the innermost one owns a tensor."""
        mine = {self._owner_of(s.tensor) for s in slices}
        owners = [c for c in self._components if c in mine]
        return "coupling" if len(owners) > 1 else "component", tuple(owners)

    def _owner_of(self, tensor: str) -> str | None:
        owners = [c for c in self._components if f"{tensor}.".startswith(f"{c}.") or not c]
        return max(owners, key=len, default=None)

    # ------------------------------------------------------------------ grouping
    def _partition(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Slot, class and position [P_g] of all entries of one group after the other, sorted by slot and position.

        Classes with the same number of positions in the same slots, locked for the same reason, form one group.
        """
        sizes = [len(self._labels(*s)) for s in self.slots]
        slot = np.repeat(np.arange(len(sizes)), sizes)  # [P]
        position = np.concatenate([np.arange(0), *(np.arange(n) for n in sizes)])  # [P]
        classes = np.concatenate([np.arange(0), *(self.of(*s) for s in self.slots)])  # [P]
        pairs, counts = np.unique(np.stack([classes, slot]), axis=1, return_counts=True)
        group_of = np.zeros(self.count, dtype=np.int64)
        known: dict[tuple[bytes, bytes, str | None], int] = {}
        starts = np.flatnonzero(np.diff(pairs[0], prepend=-1))
        for start, stop in zip(starts, np.append(starts, len(counts))[1:], strict=True):
            c = int(pairs[0, start])
            signature = (pairs[1, start:stop].tobytes(), counts[start:stop].tobytes(), self._locked.get(c))
            group_of[c] = known.setdefault(signature, len(known))
        order = np.lexsort((position, slot, group_of[classes]))
        borders = np.flatnonzero(np.diff(group_of[classes[order]]))
        for at in np.split(order, borders + 1):
            yield slot[at], classes[at], position[at]

    def _describe(self, slot: np.ndarray, classes: np.ndarray, position: np.ndarray) -> Group | None:
        numbers = list(dict.fromkeys(slot.tolist()))
        if not any(self.slots[i] in self._produced or self.slots[i] in self._consumed for i in numbers):
            return None
        makers = [i for i in numbers if self.slots[i] in self._produced] or [
            i for i in numbers if self._role(self.slots[i]) == "out"
        ]
        root = min(makers or numbers, key=lambda i: self._when(self.slots[i][0]))
        order = np.array(list(dict.fromkeys(classes[slot == root].tolist())))  # [C] in the root's order
        rank = np.argsort(order)[np.searchsorted(np.sort(order), classes)]  # [P_g]
        slices = []
        for i in numbers:
            here = slot == i
            table = position[here][np.argsort(rank[here], kind="stable")].reshape(len(order), -1)
            tensor, dim = self.slots[i]
            slices.append(Slice(tensor, dim, table, self._role((tensor, dim))))
        slices.sort(key=lambda x: self._when(x.tensor))
        reason = self.locked(order)
        if reason is None:
            checks = {
                _NO_PRODUCER: not makers,
                _ALONE: len(order) == 1,
                _NO_USE: self._of_use.isdisjoint(order.tolist()),
            }
            reason = next((why for why, fails in checks.items() if fails), None)
        layer = layer_of(self.slots[root][0])
        return self._group(layer if makers else f"input of {layer}", layer, slices, len(order), reason)

    def _group(self, name: str, root: str, slices: Sequence[Slice], channels: int, reason: str | None) -> Group:
        kind, owners = self.kind_of(slices)
        return Group(name, "locked" if reason else kind, owners, channels, root, tuple(slices), reason)

    def _unexplained(self, explained: set[str]) -> Iterator[Group]:
        """Weights that no operator with a rule has used."""
        for name, dim in self.slots:
            if dim == 0 and name not in explained | self.dense.constants and len(self.dense.seeds[name]) > 1:
                positions = np.arange(len(self._labels(name, dim)))[:, None]
                reason = self.locked(self.of(name, dim)) or _UNREACHED
                layer = layer_of(name)
                yield self._group(layer, layer, [Slice(name, dim, positions, "out")], len(positions), reason)

    # ------------------------------------------------------------------ small things
    def _labels(self, tensor: str, dim: int) -> np.ndarray:
        return self.dense.seeds[tensor][dim][0]

    def _mark(self, labels: list[np.ndarray]) -> np.ndarray:
        """Which labels occur, bool [L]."""
        marked = np.zeros(self.dense.ledger.count, dtype=bool)
        for x in labels:
            marked[x[x >= 0]] = True
        return marked

    def _role(self, slot: tuple[str, int]) -> Role:
        return "in" if slot in self._consumed and slot not in self._produced else "out"

    def _when(self, tensor: str) -> float:
        return self.dense.order.get(tensor, np.inf)


def _with_unique_names(groups: list[Group]) -> list[Group]:
    """Groups that share their root layer are told apart by the positions that they have there."""
    often = Counter((group.name, group.kind == "locked") for group in groups)
    names: dict[str, int] = {}
    for i, group in sorted(enumerate(groups), key=lambda item: item[1].kind == "locked"):
        name = group.name
        if often[name, group.kind == "locked"] > 1 or name in names:
            root = [s for s in group.slices if s.layer == group.root and s.role == "out"] or group.slices
            name = f"{name}[{root[0].positions.min()}:{root[0].positions.max() + 1}]"
        names[name if name not in names else f"{name} ({i})"] = i
    named = {i: name for name, i in names.items()}
    return [replace(group, name=named[i]) for i, group in enumerate(groups)]
