"""The algebra behind discovery: a label for every position of every dimension of every tensor, and which are the same.

Every dimension of every parameter starts with labels of its own. An operator that adds two tensors says that their
labels are pairwise the same, a matrix product says so of the two dimensions it contracts, a concatenation strings
labels together, and so on (see `operators`). What is the same in the end must be removed together: that is a channel.

A position that can never be removed (of an external input, of an image) carries a negative code instead of a label;
what is the same as a fixed position is locked, for the reason that the code stands for.

Where a dimension is split in parts, either whole parts are channels, or equal shares of every part are. Both stay
possible until all of the trace is known; `shares` decides.

Letters: n positions of one factor, L labels, S splits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce

import numpy as np

from prune_env.groups.tracing.shares import Conclusion, Option, Split, conclude

Factor = np.ndarray
"""int64 [n], n > 1: labels (>= 0) or codes of reasons (< 0)."""
Dim = tuple[Factor, ...]
"""A dimension as an ordered product, so that flattening can be undone; the empty product is a dimension of size 1."""
Dims = tuple[Dim, ...]

UNKNOWN = -1
"""Code of the only position of a dimension that once had size 1."""
_SINGLE = "it is a single number, from an input or from a layer with one channel"
POSITION = "its positions have an order (of space, time or a kernel)"
_PARTS = "it is the number of parts that a dimension consists of"
_RESHAPED = "it is reshaped across the borders of its dimensions"
PICKED = "its channels are picked by number"
_REPEATED = "it is the number of times that something is repeated"


class Ledger:
    """Hands out labels, and writes down which are the same and which are locked."""

    def __init__(self, first: int = 0):
        self.count = first
        self._reasons: list[str] = [_SINGLE]
        self._same: list[tuple[Factor, Factor]] = []
        self._equal: set[int] = set()
        self._splits: list[Split] = []
        self._parts_of: dict[tuple[bytes, int], tuple[Factor, Factor]] = {}
        self._whole_of: dict[tuple[bytes, bytes], Factor] = {}
        self._apart: set[tuple[bytes, int]] = set()

    # ------------------------------------------------------------------ making
    def fresh(self, size: int) -> Dim:
        """A dimension with new labels."""
        self.count += size
        return as_dim(np.arange(self.count - size, self.count))

    def uniform(self, size: int) -> Dim:
        """A dimension of equal values with new labels: it may become whatever it meets."""
        dim = self.fresh(size)
        self._equal.update(label for factor in dim for label in factor.tolist())
        return dim

    def fixed(self, size: int, why: str) -> Dim:
        """A dimension along which nothing can ever be removed."""
        return as_dim(np.full(size, self._code(why)))

    def lock(self, dims: Iterable[Dim], why: str) -> None:
        """Nothing may be removed along these dimensions."""
        self._same += [(factor, np.full(len(factor), self._code(why))) for dim in dims for factor in dim]

    def _code(self, why: str) -> int:
        if why not in self._reasons:
            self._reasons.append(why)
        return -1 - self._reasons.index(why)

    # ------------------------------------------------------------------ combining
    def same(self, a: Dim, b: Dim) -> Dim:
        """Position for position the same; a dimension of size 1 is broadcast. Returns the common dimension."""
        if not a or not b:
            return a or b
        if [len(x) for x in a] != [len(y) for y in b]:
            a, b = (self.flat(a),), (self.flat(b),)
        self._same += zip(a, b, strict=True)
        return tuple(np.where((y < UNKNOWN) | (x == UNKNOWN), y, x) for x, y in zip(a, b, strict=True))

    def tie(self, factor: Factor, blocks: int) -> Dim:
        """Make `blocks` equal consecutive parts of a factor the same, position by position; returns the factor."""
        parts = factor.reshape(blocks, -1)
        self._same += [(parts[0], part) for part in parts[1:]]
        return (factor,)

    def flat(self, dim: Dim) -> Factor:
        """The labels of a dimension as one factor.

        A factor of equal values beside one that is prunable only repeats that: it is locked, the other is not.
        """
        live = [i for i, factor in enumerate(dim) if (factor >= 0).any()]
        if len(live) > 1:
            repeats = [i for i in live if self._equal.issuperset(dim[i].tolist())]
            if len(live) - len(repeats) == 1:
                self.lock([tuple(dim[i] for i in repeats)], _REPEATED)
                live = [i for i in live if i not in repeats]
        live = live or [0]
        whole = reduce(lambda minor, major: self._whole(major, minor), [dim[i] for i in reversed(live)])
        shape = [len(factor) if i in live else 1 for i, factor in enumerate(dim)]
        return np.broadcast_to(whole.reshape(shape), [len(factor) for factor in dim]).ravel()

    def _whole(self, major: Factor, minor: Factor) -> Factor:
        """The product of two prunable factors, which may have been split before."""
        key = (major.tobytes(), minor.tobytes())
        if key not in self._whole_of:
            (whole,) = self.fresh(len(major) * len(minor))
            self._write_down(whole, major, minor)
        return self._whole_of[key]

    def concatenate(self, dims: Sequence[Dim]) -> Dim:
        """Labels strung together; the only position of a dimension cannot be removed, so it is fixed."""
        return as_dim(np.concatenate([self.flat(d) if d else np.array([UNKNOWN]) for d in dims]))

    def reshape(self, dims: Dims, sizes: Sequence[int]) -> Dims:
        """The dimensions of a view with other sizes.

        A factor that is split is undone if it was flattened before; else its minor positions are tied together.
        """
        rest = [factor for dim in dims for factor in dim]
        result = []
        for size in sizes:
            dim: list[Factor] = []
            while size > 1:
                factor = rest.pop(0)
                if size % len(factor) == 0:
                    size //= len(factor)
                elif len(factor) % size == 0:
                    factor, minor = self._split(factor.reshape(size, -1))
                    rest.insert(0, minor)
                    size = 1
                else:
                    self.lock([(factor, *rest, *dim)], _RESHAPED)
                    return tuple(self.fixed(n, _RESHAPED) for n in sizes)
                dim.append(factor)
            result.append(tuple(dim))
        return tuple(result)

    def _split(self, table: np.ndarray) -> tuple[Factor, Factor]:
        """Two factors for a table [major, minor] of labels."""
        fixed = not (table >= 0).any()
        if fixed or (table == table[:, :1]).all():
            return table[:, 0], table[0] if fixed else np.full(table.shape[1], self._code(_RESHAPED))
        if (table == table[0]).all():
            return np.full(len(table), self._code(_RESHAPED)), table[0]
        whole = table.ravel()
        if (whole.tobytes(), len(table)) not in self._parts_of:
            make = self.uniform if self._equal.issuperset(whole.tolist()) else self.fresh
            self._write_down(whole, *make(len(table)), *make(table.shape[1]))
        return self._parts_of[whole.tobytes(), len(table)]

    def _write_down(self, whole: Factor, major: Factor, minor: Factor) -> None:
        self._splits.append(Split(whole.reshape(len(major), len(minor)), major, minor))
        self._parts_of[whole.tobytes(), len(major)] = major, minor
        self._whole_of[major.tobytes(), minor.tobytes()] = whole

    def parts(self, dim: Dim, sizes: Sequence[int]) -> list[Dim]:
        """A dimension in consecutive parts of some sizes; equal ones may be equal shares."""
        whole = self.flat(dim)
        if len(set(sizes)) == 1 and (whole >= 0).any():
            if sizes[0] == 1:
                self.lock([dim], PICKED)
            elif (key := (whole.tobytes(), len(sizes))) not in self._apart:
                self._apart.add(key)
                self._splits.append(Split(whole.reshape(len(sizes), -1)))
        return [as_dim(part) for part in np.split(whole, np.cumsum(sizes)[:-1])]

    # ------------------------------------------------------------------ concluding
    def conclude(self, options: Mapping[int, Option] | None = None, tied: Iterable[np.ndarray] = ()) -> Conclusion:
        """Which labels are the same, and which are locked; see `shares.conclude`."""
        empty = np.zeros(0, dtype=np.int64)
        a, b = (np.concatenate([empty, *(pair[i] for pair in self._same)]) for i in (0, 1))
        codes = {"whole": self._code(_RESHAPED), "shares": self._code(_PARTS)}
        return conclude(self.count, (a, b), self._splits, codes, self._reasons, options or {}, tied)


def size_of(dim: Dim) -> int:
    """Number of positions of a dimension."""
    return math.prod(len(factor) for factor in dim)


def relabel(dims: Dims, table: np.ndarray) -> Dims:
    """Replace every label by its entry in `table`, int64 [L]; positions whose entry is negative are dropped."""
    return tuple(tuple(f for f in (_relabelled(factor, table) for factor in dim) if len(f) > 1) for dim in dims)


def _relabelled(factor: Factor, table: np.ndarray) -> Factor:
    new = np.where(factor >= 0, table[np.maximum(factor, 0)], factor)
    return new[(factor < 0) | (new >= 0)]


def as_dim(factor: Factor) -> Dim:
    """A dimension of one factor."""
    return (factor.astype(np.int64),) if len(factor) > 1 else ()
