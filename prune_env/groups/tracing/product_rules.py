"""Rules of operators that contract dimensions: products of matrices, convolutions, attention, distances.

The form of a rule is described in `rule_context`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from prune_env.groups.tracing.labels import POSITION, Dim, Dims, size_of
from prune_env.groups.tracing.rule_context import Arguments, RuleContext, broadcast, joined, locked_along

_FILTERS = "every channel has this number of filters"
_SHARED = "several heads of queries share one of keys and values"


def contract(p: RuleContext, left: Tensor, right: Tensor) -> Dims:
    """Matrix product [..., n, m] x [..., m, k] or [m]: the dimension m is contracted."""
    x, y = p.dims(left), p.dims(right)
    at = max(len(y) - 2, 0)
    p.ledger.same(x[-1], y[at])
    p.sums([x[-1], y[at]])
    p.consumes(right if p.is_weight(right) else left, [y[at] if p.is_weight(right) else x[-1]])
    p.produces(left, x[-2:-1])
    p.produces(right, y[at + 1 :])
    batch = tuple(p.ledger.same(i, j) for i, j in zip(x[:-2], y[:at], strict=True))
    return (*batch, *x[-2:-1], *y[at + 1 :])


def product(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Products of matrices, batches of them and vectors."""
    right = next(a[name] for name in ("mat2", "vec", "tensor", "other") if name in a)
    return contract(p, a["self"], right)


def product_plus(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """A bias plus a product."""
    left = next(a[name] for name in ("mat1", "mat", "batch1") if name in a)
    right = next(a[name] for name in ("mat2", "vec", "batch2") if name in a)
    dims, bias = contract(p, left, right), p.dims(a["self"])
    p.produces(a["self"], bias[-1:])
    return joined(p, dims, bias)


def convolution(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Convolutions of any rank: plain, transposed, depthwise or in groups."""
    x, w = p.dims(a["input"]), p.dims(a["weight"])
    p.ledger.lock([*x[2:], *w[2:]], POSITION)
    if a["groups"] == 1:
        made, used = (w[1], w[0]) if a["transposed"] else (w[0], w[1])
        p.ledger.same(x[1], used)
        p.sums([x[1]])
        p.consumes(a["weight"], [used])
    else:
        made = _in_groups(p, x[1], w, a)
    p.produces(a["weight"], [made])
    if a["bias"] is not None:
        p.produces(a["bias"], p.dims(a["bias"]))
        made = p.ledger.same(made, p.dims(a["bias"])[0])
    return (x[0], made, *(p.ledger.fixed(n, POSITION) for n in out.shape[2:]))


def _in_groups(p: RuleContext, inputs: Dim, w: Dims, a: Arguments) -> Dim:
    """Output channels of a convolution in several groups, each of which loses the same positions.

    The weight is [outputs, inputs / groups, ...], or [inputs, outputs / groups, ...] if the convolution is transposed.
    """
    groups, (large, per_group) = a["groups"], a["weight"].shape[:2]
    x = p.ledger.flat(inputs)
    if a["transposed"] and large == groups:  # depthwise: a channel is the same as its own filters
        p.ledger.lock([w[1]], _FILTERS)
        return (p.ledger.flat(p.ledger.same(w[0], inputs)).repeat(per_group),)
    if a["transposed"]:
        p.ledger.same(p.ledger.tie(x, groups), w[0])
        p.sums([w[0]])
        p.consumes(a["weight"], [w[0]])
        return (np.tile(p.ledger.flat(w[1]), groups),)
    if per_group == 1:  # depthwise
        return p.ledger.same(w[0], (x.repeat(large // groups),))
    tied = p.ledger.tie(x, groups)
    p.ledger.same((tied[0][:per_group],), w[1])
    p.sums([tied])
    p.consumes(a["weight"], [w[1]])
    return p.ledger.tie(p.ledger.flat(w[0]), groups)


def outer_plus(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """A matrix plus the outer product of two vectors."""
    return joined(p, (*p.dims(a["vec1"]), *p.dims(a["vec2"])), p.dims(a["self"]))


def batch_sum_plus(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """A matrix plus the sum of a batch of products."""
    batch, *dims = contract(p, a["batch1"], a["batch2"])
    p.sums([batch])
    return joined(p, tuple(dims), p.dims(a["self"]))


def trilinear(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """The product of three tensors, broadcast by new dimensions, summed over some: a bilinear layer."""
    tensors = [a["i1"], a["i2"], a["i3"]]
    dims: list[Dim] = [()] * (tensors[0].dim() + len(a["expand1"]))
    for tensor, expanded in zip(tensors, (a["expand1"], a["expand2"], a["expand3"]), strict=True):
        own = iter(p.dims(tensor))
        wide = [() if i in expanded else next(own) for i in range(len(dims))]
        used = [d for i, d in enumerate(wide) if i in a["sumdim"]]
        p.consumes(tensor, used)
        p.produces(tensor, [d for i, d in enumerate(wide) if d and i not in a["sumdim"]])
        dims = [p.ledger.same(x, y) for x, y in zip(dims, wide, strict=True)]
    p.sums([dims[i] for i in a["sumdim"]])
    return tuple(d for i, d in enumerate(dims) if i not in a["sumdim"])


def cross(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """The cross product of vectors of three along one dimension."""
    return locked_along(p, broadcast(p, [a["self"], a["other"]]), {a["dim"] % out.dim()}, out, POSITION)


def pairwise_distance(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Distances [..., n, k] between the rows of [..., n, m] and [..., k, m]."""
    x, y = p.dims(a["x1"]), p.dims(a["x2"])
    p.sums([p.ledger.same(x[-1], y[-1])])
    return (*joined(p, x[:-2], y[:-2]), x[-2], y[-2])


def condensed_distance(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Distances between all pairs of rows of a matrix."""
    rows, columns = p.dims(a["self"])
    p.ledger.lock([rows], POSITION)
    p.sums([columns])
    return (p.ledger.fixed(len(out), POSITION),)


def attention(p: RuleContext, a: Arguments, out: Sequence[Any]) -> list[Dims]:
    """Fused attention [..., t, v] of queries [..., t, k], keys [..., s, k] and values [..., s, v]."""
    q, k, v = (p.dims(a[name]) for name in ("query", "key", "value"))
    p.sums([p.ledger.same(q[-1], k[-1]), p.ledger.same(k[-2], v[-2])])
    batch = tuple(_shared(p, _shared(p, x, y), z) for x, y, z in zip(q[:-2], k[:-2], v[:-2], strict=True))
    for name in ("attn_mask", "attn_bias"):
        if a.get(name) is not None:
            mask = p.dims(a[name])
            for x, y in zip(reversed((*batch, q[-2], k[-2])), reversed(mask), strict=False):
                p.ledger.same(x, y)
    if size_of(q[-1]) == size_of(v[-1]):  # most kernels need them to be equal
        p.ledger.same(q[-1], v[-1])
    result = [(*batch, q[-2], v[-1])]
    for t in out[1:]:
        if isinstance(t, Tensor):
            logs = t.dim() == len(q) - 1 and t.shape == out[0].shape[:-1]
            result.append((*batch, q[-2]) if logs else tuple(p.ledger.fixed(n, POSITION) for n in t.shape))
    return result


def _shared(p: RuleContext, x: Dim, y: Dim) -> Dim:
    """Heads of queries and keys; where several share one, their number is fixed."""
    if size_of(x) == size_of(y):
        return p.ledger.same(x, y)
    p.ledger.lock([x, y], _SHARED)
    return x
