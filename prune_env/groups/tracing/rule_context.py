"""What a rule of an operator is, what it may ask of the propagation, and what many rules share.

A rule gets the propagation `p`, the operator's arguments by name `a` and its output `out` (a tuple, where it has
several), tells the ledger what it learns, and returns the dimensions of the output, or a list of those of every output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial, reduce
from typing import Any, Protocol

from torch import Tensor

from prune_env.groups.tracing.labels import PICKED as PICKED
from prune_env.groups.tracing.labels import Dim, Dims, Ledger

Arguments = dict[str, Any]

RANKED = "its channels are compared with each other"


class RuleContext(Protocol):
    """What rules use of a propagation."""

    ledger: Ledger

    @property
    def by_caller(self) -> bool:
        """Whether the operator runs outside of the network, in the code that calls it."""

    def dims(self, tensor: Tensor) -> Dims:
        """Labels of a tensor."""

    def external(self, tensor: Tensor) -> Dims:
        """Labels of a tensor that comes from outside."""

    def uniform(self, size: int) -> Dim:
        """A dimension of equal values: it may become whatever it meets."""

    def is_weight(self, tensor: Tensor) -> bool:
        """Whether a tensor is a parameter or computed from parameters alone."""

    def produces(self, tensor: Tensor, dims: Sequence[Dim]) -> None:
        """A layer makes channels along these dimensions of its weight."""

    def consumes(self, tensor: Tensor, dims: Sequence[Dim]) -> None:
        """A layer sums over these dimensions of its weight."""

    def sums(self, dims: Sequence[Dim]) -> None:
        """Something is computed from all positions of these dimensions."""


Rule = Callable[[RuleContext, Arguments, Any], Any]


def axes(dim: Any, rank: int) -> set[int]:
    """Which dimensions an argument names; all of them if it names none."""
    if dim is None or dim == []:
        return set(range(rank))
    return {d % rank for d in (dim if isinstance(dim, (list, tuple)) else [dim])} if rank else set()


def tensors_in(a: Arguments) -> list[Tensor]:
    """The arguments that are tensors."""
    return [value for value in a.values() if isinstance(value, Tensor)]


def joined(p: RuleContext, x: Dims, y: Dims) -> Dims:
    """Two shapes broadcast together: dimension for dimension, from the last, positions are the same."""
    short, long = sorted((x, y), key=len)
    pad = len(long) - len(short)
    return long[:pad] + tuple(p.ledger.same(i, j) for i, j in zip(long[pad:], short, strict=True))


def broadcast(p: RuleContext, tensors: Iterable[Tensor]) -> Dims:
    """The common dimensions of tensors that are broadcast together."""
    return reduce(partial(joined, p), (p.dims(t) for t in tensors), ())


def locked_along(p: RuleContext, dims: Dims, at: set[int], out: Tensor, why: str) -> Dims:
    """An output whose dimensions `at` have an order or a size of their own; the others are those of the input."""
    p.ledger.lock([dims[i] for i in at], why)
    return tuple(p.ledger.fixed(n, why) if i in at else dims[i] for i, n in enumerate(out.shape))
