"""Rules of operators that read or write positions by number or by mask: indexing, gather, scatter, embeddings.

The form of a rule is described in `rule_context`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from prune_env.groups.tracing.labels import Dim, Dims, size_of
from prune_env.groups.tracing.rule_context import (
    PICKED,
    RANKED,
    Arguments,
    RuleContext,
    broadcast,
    locked_along,
    tensors_in,
)

_MASKED = "its channels are picked by a mask"
_ROWS = "its rows are looked up by number"
_SORTED_INTO = "its values are borders that others are sorted into"


def index_select(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Some positions of one dimension, by number."""
    dims = p.dims(a["self"])
    p.ledger.lock(p.dims(a["index"]), PICKED)
    return locked_along(p, dims, {a["dim"] % len(dims)}, out, PICKED) if dims else ()


def index(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Advanced indexing: indexed dimensions are replaced by those of the indices, in place if they stand together."""
    dims = p.dims(a["self"])
    at, start, new = _indexed(p, a["indices"], dims)
    rest = tuple(d for i, d in enumerate(dims) if i not in at)
    stop = start + out.dim() - len(rest)
    return (*rest[:start], *_sized(p, new, out.shape[start:stop]), *rest[start:])


def index_put(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Advanced indexing, written to: the values are broadcast to what reading would return."""
    dims = p.dims(a["self"])
    at, start, new = _indexed(p, a["indices"], dims)
    rest = [i for i in range(len(dims)) if i not in at]
    read: list[int | None] = [*rest[:start], *(None for _ in new), *rest[start:]]  # None: a dimension of the indices
    result, values = list(dims), p.dims(a["values"])
    for i, value in zip(read[len(read) - len(values) :], values, strict=True):
        if i is None:
            p.ledger.lock([value], PICKED)
        else:
            result[i] = p.ledger.same(result[i], value)
    return tuple(result)


def _indexed(p: RuleContext, indices: Sequence[Tensor | None], dims: Dims) -> tuple[list[int], int, Dims]:
    """Which dimensions are indexed, where their replacement starts among the others, and the dimensions of that.

    A mask stands for one dimension, whose size its values decide.
    """
    at: list[int] = []
    numbers: list[Tensor] = []
    masked = False
    cursor = 0
    for item in indices:
        mask = item is not None and item.dtype in (torch.bool, torch.uint8)
        width = item.dim() if item is not None and mask else 1
        if item is not None:
            at += range(cursor, cursor + width)
            masked |= mask
            numbers += [] if mask else [item]
            p.ledger.lock(p.dims(item) if mask else (), _MASKED)
        cursor += width
    p.ledger.lock([dims[i] for i in at], PICKED)
    start = at[0] if at == list(range(at[0], at[-1] + 1)) else 0
    new = broadcast(p, numbers)
    if masked:
        p.ledger.lock(new, PICKED)
        new = ((),) * max(len(new), 1)
    return at, start, new


def _sized(p: RuleContext, dims: Dims, sizes: Sequence[int]) -> Dims:
    """The dimensions of indices that can be followed; others are fixed."""
    follow = [size_of(d) == n and any((f >= 0).any() for f in d) for d, n in zip(dims, sizes, strict=True)]
    return tuple(d if ok else p.ledger.fixed(n, PICKED) for d, n, ok in zip(dims, sizes, follow, strict=True))


def take(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Positions of the flattened tensor, by number."""
    p.ledger.lock(p.dims(a["self"]), PICKED)
    return p.dims(a["index"])


def gather(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """One dimension is picked by number, for every position of the others apart."""
    dims, numbers = p.dims(a["self"]), p.dims(a["index"])
    at = a["dim"] % len(dims)
    p.ledger.lock([dims[at]], PICKED)
    return tuple(n if i == at else _alike(p, d, n) for i, (d, n) in enumerate(zip(dims, numbers, strict=True)))


def scatter(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """One dimension is written to or added to by number, for every position of the others apart."""
    result = list(p.dims(a["self"]))
    at = a["dim"] % len(result)
    p.ledger.lock([result[at]], PICKED)
    for tensor in tensors_in(a):
        dims = p.dims(tensor)
        if len(dims) < len(result):  # numbers of positions along one dimension, or a value for all
            p.ledger.lock(dims, PICKED)
            continue
        p.ledger.lock([dims[at]], PICKED)
        result = [d if i == at else _alike(p, dims[i], d) for i, d in enumerate(result)]
    return tuple(result)


def _alike(p: RuleContext, one: Dim, other: Dim) -> Dim:
    """The common dimension of two tensors; where only the first positions of one take part, both are locked."""
    if size_of(one) == size_of(other):
        return p.ledger.same(one, other)
    p.ledger.lock([one, other], PICKED)
    return other


def write_part(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """A copy of a tensor, a part of which along one dimension is replaced by another tensor."""
    dims, source = p.dims(a["self"]), list(p.dims(a["src"]))
    at = a["dim"] % len(dims)
    if len(source) < len(dims):
        source.insert(at, ())
    p.ledger.lock([dims[at], source[at]], PICKED)
    return tuple(d if i == at else p.ledger.same(d, source[i]) for i, d in enumerate(dims))


def masked_select(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """The values under a mask, strung together."""
    p.ledger.lock(broadcast(p, tensors_in(a)), _MASKED)
    return (p.ledger.fixed(len(out), _MASKED),)


def masked_scatter(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """The values of a tensor are written one after the other where a mask allows it.

    A mask that is expanded along the last dimensions takes whole rows of them.
    """
    mask, source = a["mask"], a["source"]
    dims, values = list(broadcast(p, [a["self"], mask])), p.dims(source)
    strides = (0,) * (out.dim() - mask.dim()) + mask.stride()
    rows = 0
    while rows < min(len(values), out.dim()) and strides[-1 - rows] == 0:
        rows += 1
        if out.shape[-rows] != source.shape[-rows]:
            rows -= 1
            break
    for i in range(1, rows + 1):
        dims[-i] = p.ledger.same(dims[-i], values[-i])
    p.ledger.lock([*dims[: len(dims) - rows], *values[: len(values) - rows]], _MASKED)
    return tuple(dims)


def nonzero(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """The numbers of all positions that hold something."""
    p.ledger.lock(p.dims(a["self"]), PICKED)
    return p.external(out)


def embedding(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Rows of a table, looked up by number."""
    rows, columns = p.dims(a["weight"])
    p.ledger.lock([rows], _ROWS)
    p.produces(a["weight"], [columns])
    return (*p.dims(a["indices"]), columns)


def embedding_bag(p: RuleContext, a: Arguments, out: Sequence[Tensor]) -> list[Dims]:
    """Sums, means or maxima over bags of rows of a table."""
    rows, columns = p.dims(a["weight"])
    p.ledger.lock([rows, *(d for t in tensors_in(a) if t.dim() == 1 for d in p.dims(t))], _ROWS)
    p.produces(a["weight"], [columns])
    bags, *others = out
    rest = [tuple(p.ledger.fixed(n, _ROWS) for n in t.shape[:1]) + (columns,) * (t.dim() - 1) for t in others]
    return [(p.ledger.fixed(len(bags), _ROWS), columns), *rest]


def sort_into(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Between which of some borders every value lies."""
    borders = a["boundaries"] if "boundaries" in a else a["sorted_sequence"]
    value, edges = a["self"], p.dims(borders)
    p.ledger.lock(edges[-1:], _SORTED_INTO)
    if a.get("sorter") is not None:
        p.ledger.lock(p.dims(a["sorter"]), _SORTED_INTO)
    if not isinstance(value, Tensor):
        return edges[:-1]
    dims = p.dims(value)
    if len(edges) == 1:
        return dims
    return (*(p.ledger.same(x, y) for x, y in zip(dims[:-1], edges[:-1], strict=True)), dims[-1])


def is_in(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Whether every value is among others."""
    elements, among = a.get("elements"), a.get("test_elements")
    if isinstance(among, Tensor):
        p.ledger.lock(p.dims(among), RANKED)
    return p.dims(elements) if isinstance(elements, Tensor) else ()


def pack_padded(p: RuleContext, a: Arguments, out: Sequence[Tensor]) -> list[Dims]:
    """Sequences [batch, time, ...] or [time, batch, ...] of several lengths, strung together without their padding."""
    dims = p.dims(a["input"])
    p.ledger.lock(dims[:2], PICKED)
    data, sizes = out
    return [(p.ledger.fixed(len(data), PICKED), *dims[2:]), p.external(sizes)]
