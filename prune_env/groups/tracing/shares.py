"""Whole parts or equal shares: what the channels of a dimension are that is split in parts.

A dimension of heads times their size may lose whole heads, or the same positions of every head; one that is halved may
lose positions of each half apart, or the same of both. Which of it is right depends on all that the network does with
the parts: a part that is picked by number cannot go, and positions with an order cannot either. What both ends of a
split allow is an option; proofs by values tell which one is right.

Letters: L labels, N classes, E pairs of labels that are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Option = Literal["whole", "shares", "whole, shares of halves"]
"""What to take where a connected set of splits leaves the choice."""
OPTIONS: tuple[Option, ...] = ("whole", "shares", "whole, shares of halves")

_EMPTY = np.zeros(0, dtype=np.int64)
Pairs = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Split:
    """A dimension in equal parts.

    Attributes:
        table: Labels of the dimension, int64 [parts, positions of a part].
        major: Labels of the parts if they are a dimension of their own, int64 [parts]; else they are tensors apart.
        minor: Labels of the positions within a part, int64 [positions of a part], likewise.
    """

    table: np.ndarray
    major: np.ndarray | None = None
    minor: np.ndarray | None = None

    def over(self, new: np.ndarray) -> Split:
        """With other labels, of which `new` [L] holds one for each; codes of reasons stay."""

        def translated(x: np.ndarray | None) -> np.ndarray | None:
            return None if x is None else np.where(x >= 0, new[np.maximum(x, 0)], x)

        table = translated(self.table)
        assert table is not None
        return replace(self, table=table, major=translated(self.major), minor=translated(self.minor))

    def whole(self) -> Pairs:
        """Labels that are the same if whole parts are channels; none where parts are tensors apart."""
        if self.major is None:
            return _EMPTY, _EMPTY
        return self.table.ravel(), np.repeat(self.major, self.table.shape[1])

    def shares(self) -> Pairs:
        """Labels that are the same if every part loses the same positions."""
        minor = self.table[0] if self.minor is None else self.minor
        return self.table.ravel(), np.tile(minor, len(self.table))


@dataclass(frozen=True, eq=False)
class Conclusion:
    """Which labels are the same channel.

    Attributes:
        of_label: Class of every label, int64 [L].
        locked: Why a class is locked, by class.
        connected: Which labels depend on the same choices, a number for each, int64 [L].
        free: Numbers of the connected sets in which there was a choice, and the options that differ there.
    """

    of_label: np.ndarray
    locked: dict[int, str]
    connected: np.ndarray
    free: dict[int, tuple[Option, ...]]


@dataclass
class _Classes:
    """Classes that are merged step by step."""

    of_label: np.ndarray
    code: np.ndarray = field(default_factory=lambda: _EMPTY)
    """Why a class is locked, int64 [N]; 0 where it is not."""

    def merge(self, pairs: Sequence[Pairs]) -> np.ndarray:
        """Merge classes, or lock those that are paired with a code; returns the new class of each old one."""
        a, b = (np.concatenate([_EMPTY, *(pair[i] for pair in pairs)]) for i in (0, 1))
        new = _components(len(self.code), a, b)
        code = np.zeros(int(new.max(initial=-1)) + 1, dtype=np.int64)
        at = np.flatnonzero((a < 0) != (b < 0))[::-1]  # backwards, so that the first reason is the one that stays
        code[new[np.maximum(a, b)[at]]] = np.minimum(a, b)[at]
        at = np.flatnonzero(self.code)[::-1]
        code[new[at]] = self.code[at]
        self.of_label, self.code = new[self.of_label], code
        return new

    def fixed(self, x: np.ndarray) -> bool:
        """Whether all these are locked."""
        return bool(((x < 0) | (self.code[np.maximum(x, 0)] != 0)).all())


def conclude(
    count: int,
    same: Pairs,
    splits: Sequence[Split],
    codes: Mapping[str, int],
    reasons: Sequence[str],
    options: Mapping[int, Option],
    tied: Iterable[np.ndarray] = (),
) -> Conclusion:
    """Decide all splits, first those that leave no choice.

    Args:
        count: L, how many labels there are.
        same: Labels or codes that are the same in any case, int64 [E] each.
        splits: All splits, with these labels.
        codes: Codes for positions within "whole" parts, and for the number of parts that lose equal "shares".
        reasons: What the codes mean.
        options: What to take where there is a choice, by the number of the connected set; "whole" by default.
        tied: Channels that are known already: labels int64 [C, K], the same along K.
    """
    known = [(np.repeat(x[:, :1], x.shape[1], axis=1).ravel(), x.ravel()) for x in tied]
    classes = _Classes(np.arange(count), np.zeros(count, dtype=np.int64))
    possible = [same, *known, *(pairs for split in splits for pairs in (split.whole(), split.shares()))]
    connected = _components(count, *(np.concatenate([_EMPTY, *(p[i] for p in possible)]) for i in (0, 1)))
    place = [int(connected[max(split.table.max(), 0)]) for split in splits]
    free: dict[int, set[bool]] = {}
    undecided = dict(enumerate(splits))
    pairs: list[Pairs] = [same, *known]
    while True:
        new = classes.merge(pairs)
        undecided = {i: split.over(new) for i, split in undecided.items()}
        if not undecided:
            break
        taken = {i: option for i, split in undecided.items() if (option := _forced(split, classes, bool(known)))}
        if not taken:
            first = {place[i]: i for i in reversed(undecided)}
            taken = {i: options.get(where, "whole") for where, i in first.items()}
            for i in taken:
                free.setdefault(place[i], set()).add(splits[i].major is None)
        pairs = [p for i, option in taken.items() for p in _decided(undecided.pop(i), option, codes)]
    locked = {int(c): reasons[-1 - classes.code[c]] for c in np.flatnonzero(classes.code)}
    return Conclusion(classes.of_label, locked, connected, {at: _different(kinds) for at, kinds in free.items()})


def _forced(split: Split, classes: _Classes, known: bool) -> Option | None:
    """The only option, if there is but one."""
    if classes.fixed(split.table):
        return "whole"
    if known:
        rows, columns = ((split.table == one).all() for one in (split.table[:, :1], split.table[:1]))
        if rows != columns:
            return "whole" if rows else "shares"
    if split.major is None or split.minor is None:
        return "whole" if known else None
    if classes.fixed(split.minor):
        return "whole"
    return "shares" if classes.fixed(split.major) else None


def _decided(split: Split, option: Option, codes: Mapping[str, int]) -> list[Pairs]:
    """What an option makes the same, and what it locks."""
    if split.major is None or split.minor is None:
        return [] if option == "whole" else [split.shares()]
    if option == "shares":
        return [split.shares(), (split.major, np.full(len(split.major), codes["shares"]))]
    return [split.whole(), (split.minor, np.full(len(split.minor), codes["whole"]))]


def _different(kinds: set[bool]) -> tuple[Option, ...]:
    """The options that differ for dimensions that are split, or tensors apart, or both."""
    return OPTIONS if len(kinds) == 2 else OPTIONS[:2]


def _components(count: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The connected component of each of `count` nodes, int64; pairs with a negative end are no edges."""
    both = (a >= 0) & (b >= 0)
    edges = coo_array((np.ones(both.sum(), dtype=np.int8), (a[both], b[both])), shape=(count, count))
    return connected_components(edges, directed=False)[1].astype(np.int64)
