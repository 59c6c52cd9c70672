"""Rules of operators that compute one value from all positions of a dimension, or compare them: sums, sorting.

The form of a rule is described in `rule_context`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from prune_env.groups.tracing.labels import POSITION, Dims, size_of
from prune_env.groups.tracing.rule_context import (
    RANKED,
    Arguments,
    RuleContext,
    axes,
    broadcast,
    locked_along,
)


def reduce(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Sums, means and other functions of all positions of a dimension, in whatever order."""
    dims = p.dims(a["self"])
    gone = axes(a.get("dim"), len(dims))
    p.sums([dims[i] for i in gone])
    if a.get("keepdim"):
        return tuple(() if i in gone else d for i, d in enumerate(dims))
    return tuple(d for i, d in enumerate(dims) if i not in gone)


def reduce_pair(p: RuleContext, a: Arguments, out: Sequence[Tensor]) -> list[Dims]:
    """Two reductions at once."""
    return [reduce(p, a, t) for t in out]


def rank(p: RuleContext, a: Arguments, out: Any) -> Any:
    """Maximum with its position, argmax, median: the position tells one channel from the others by number."""
    if "other" in a:
        return broadcast(p, [a["self"], a["other"]])
    dims = p.dims(a["self"])
    p.ledger.lock([dims[i] for i in axes(a.get("dim"), len(dims))], RANKED)
    return reduce(p, a, out) if isinstance(out, Tensor) else reduce_pair(p, a, out)


def along(p: RuleContext, a: Arguments, out: Any) -> Any:
    """Cumulative sums and the like: one dimension has an order, the others are kept."""
    return _along(p, a, out, POSITION)


def sort(p: RuleContext, a: Arguments, out: Any) -> Any:
    """Sorting, and the largest or smallest values: positions of one dimension change places, depending on values."""
    return _along(p, a, out, RANKED)


def _along(p: RuleContext, a: Arguments, out: Any, why: str) -> Any:
    dims = p.dims(a["self"])
    outs = [out] if isinstance(out, Tensor) else out
    result = [locked_along(p, dims, {a["dim"] % len(dims)} if dims else set(), t, why) for t in outs]
    return result[0] if isinstance(out, Tensor) else result


def multinomial(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Numbers of positions of the last dimension, drawn with the probabilities that it holds."""
    return locked_along(p, p.dims(a["self"]), {out.dim() - 1}, out, RANKED)


def trace(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """The sum of the diagonal of a square matrix."""
    rows, columns = p.dims(a["self"])
    if size_of(rows) == size_of(columns):
        p.sums([p.ledger.same(rows, columns)])
    else:
        p.ledger.lock([rows, columns], POSITION)
    return ()


def distance(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """The norm of the difference of two tensors."""
    p.sums(broadcast(p, [a["self"], a["other"]]))
    return ()


def class_loss(p: RuleContext, a: Arguments, out: Sequence[Tensor]) -> list[Dims]:
    """Losses that pick the value of the right class by number; classes lie along dimension 1."""
    dims = p.dims(a["self"])
    at = 1 if len(dims) > 1 else 0
    p.ledger.lock([dims[at]], RANKED)
    if a.get("weight") is not None:
        p.ledger.lock(p.dims(a["weight"]), RANKED)
    rest = (*dims[:at], *dims[at + 1 :])
    rest = tuple(p.ledger.same(x, y) for x, y in zip(rest, p.dims(a["target"]), strict=True)) if rest else ()
    if a["reduction"] == 0:
        return [rest, *(((),) * t.dim() for t in out[1:])]
    p.sums(rest)
    return [((),) * t.dim() for t in out]
