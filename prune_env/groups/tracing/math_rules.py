"""Rules of operators that compute: elementwise, reductions, products, normalisations, pooling.

The form of a rule is told in `operators`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from prune_env.groups.tracing.labels import POSITION, Dim, Dims, size_of
from prune_env.groups.tracing.layout_rules import Arguments, axes

if TYPE_CHECKING:
    from prune_env.groups.tracing.propagation import Propagation

Rule = Callable[["Propagation", Arguments, Any], Any]

_GROUPED = "it passes a grouped transposed convolution"
_RANKED = "its channels are compared with each other"
_PADDED = "its dimension is padded"
_ROWS = "its rows are looked up by number"


# ---------------------------------------------------------------- position for position
def pointwise(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """Broadcast together: dimension for dimension, from the last, positions are the same."""
    result: Dims = ((),) * out.dim()
    for value in a.values():
        if isinstance(value, Tensor) and value.dim():
            dims = p.dims(value)
            pad = out.dim() - len(dims)
            result = result[:pad] + tuple(p.ledger.same(x, y) for x, y in zip(result[pad:], dims, strict=True))
    return result


def softmax(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """Every position of the output belongs to that of the input; all are treated alike."""
    return p.dims(a["self"])


def glu(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """The second half of a dimension is the gate of the first."""
    dims = p.dims(a["self"])
    at = a["dim"] % len(dims)
    half = p.ledger.tie(p.ledger.flat(dims[at]), 2)[0][: out.shape[at]]
    return (*dims[:at], (half,), *dims[at + 1 :])


# ---------------------------------------------------------------- reductions
def reduce(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """Sums, means and other functions of all positions of a dimension, in whatever order."""
    dims = p.dims(a["self"])
    gone = axes(a.get("dim"), len(dims))
    p.sums([dims[i] for i in gone])
    if a.get("keepdim"):
        return tuple(() if i in gone else d for i, d in enumerate(dims))
    return tuple(d for i, d in enumerate(dims) if i not in gone)


def reduce_pair(p: Propagation, a: Arguments, out: Sequence[Tensor]) -> list[Dims]:
    """Two reductions at once."""
    return [reduce(p, a, t) for t in out]


def rank(p: Propagation, a: Arguments, out: Any) -> Any:
    """Maximum with its position, argmax: the position speaks of one channel by number."""
    if "other" in a:
        return pointwise(p, a, out)
    dims = p.dims(a["self"])
    p.ledger.lock([dims[i] for i in axes(a.get("dim"), len(dims))], _RANKED)
    return reduce(p, a, out) if isinstance(out, Tensor) else reduce_pair(p, a, out)


def along(p: Propagation, a: Arguments, out: Any) -> Any:
    """Cumulative sums, sorting and their like: one dimension has an order, the others are kept."""
    dims = list(p.dims(a["self"]))
    at = a["dim"] % len(dims)
    p.ledger.lock([dims[at]], POSITION)
    dims[at] = p.ledger.fixed(a["self"].shape[at], POSITION)
    return tuple(dims) if isinstance(out, Tensor) else [tuple(dims)] * len(out)


# ---------------------------------------------------------------- products
def contract(p: Propagation, left: Tensor, right: Tensor) -> Dims:
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


def product(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """Products of matrices, batches of them and vectors."""
    right = next(a[name] for name in ("mat2", "vec", "tensor", "other") if name in a)
    return contract(p, a["self"], right)


def product_plus(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """A bias plus a product."""
    left = next(a[name] for name in ("mat1", "mat", "batch1") if name in a)
    right = next(a[name] for name in ("mat2", "vec", "batch2") if name in a)
    dims, bias = contract(p, left, right), p.dims(a["self"])
    p.produces(a["self"], bias[-1:])
    pad = len(dims) - len(bias)
    return dims[:pad] + tuple(p.ledger.same(x, y) for x, y in zip(dims[pad:], bias, strict=True))


def convolution(p: Propagation, a: Arguments, out: Tensor) -> Dims:
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


def _in_groups(p: Propagation, inputs: Dim, w: Dims, a: Arguments) -> Dim:
    """Output channels of a convolution in several groups."""
    groups, (outputs, per_group) = a["groups"], a["weight"].shape[:2]
    if a["transposed"]:
        p.ledger.lock([inputs, *w[:2]], _GROUPED)
        return p.ledger.fixed(per_group * groups, _GROUPED)
    if per_group == 1:  # depthwise: a channel is the same as its own filters
        return p.ledger.same(w[0], (p.ledger.flat(inputs).repeat(outputs // groups),))
    tied = p.ledger.tie(p.ledger.flat(inputs), groups)  # every group loses the same positions
    p.ledger.same((tied[0][:per_group],), w[1])
    p.sums([tied])
    p.consumes(a["weight"], [w[1]])
    return p.ledger.tie(p.ledger.flat(w[0]), groups)


def embedding(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """Rows of a table, looked up by number."""
    rows, columns = p.dims(a["weight"])
    p.ledger.lock([rows], _ROWS)
    p.produces(a["weight"], [columns])
    return (*p.dims(a["indices"]), columns)


# ---------------------------------------------------------------- normalisations
def batch_norm(p: Propagation, a: Arguments, out: Sequence[Tensor]) -> list[Dims]:
    """Every channel for itself, with parameters and statistics of its own."""
    dims = p.dims(a["input"])
    channel = dims[1]
    for name in ("weight", "bias", "running_mean", "running_var"):
        if a.get(name) is not None:
            channel = p.ledger.same(channel, p.dims(a[name])[0])
    rest = [tuple(channel if n == size_of(channel) else () for n in t.shape) for t in out[1:]]
    return [(dims[0], channel, *dims[2:]), *rest]


def layer_norm(p: Propagation, a: Arguments, out: Any) -> Any:
    """Statistics over the last dimensions, which all positions of them share."""
    dims = p.dims(a["input"])
    kept = len(dims) - len(a["normalized_shape"])
    for name in ("weight", "bias"):
        if a.get(name) is not None:
            pairs = zip(dims[kept:], p.dims(a[name]), strict=True)
            dims = dims[:kept] + tuple(p.ledger.same(x, y) for x, y in pairs)
    if isinstance(out, Tensor):
        return dims
    return [dims, *((*dims[:kept], *((),) * (t.dim() - kept)) if t.numel() else ((),) for t in out[1:])]


def group_norm(p: Propagation, a: Arguments, out: Sequence[Tensor]) -> list[Dims]:
    """Statistics are shared within a block of channels: to keep the blocks equal, each loses the same positions."""
    dims = p.dims(a["input"])
    channel = dims[1]
    for name in ("weight", "bias"):
        if a.get(name) is not None:
            channel = p.ledger.same(channel, p.dims(a[name])[0])
    if channel:
        channel = p.ledger.tie(p.ledger.flat(channel), a["group"])
    statistics: Dims = (dims[0], p.ledger.fixed(a["group"], POSITION))
    return [(dims[0], channel, *dims[2:]), statistics, statistics]


# ---------------------------------------------------------------- space
def spatial(rank: int) -> Rule:
    """Pooling, resizing and padding of the last `rank` dimensions."""

    def rule(p: Propagation, a: Arguments, out: Any) -> Any:
        dims = p.dims(a["self"] if "self" in a else a["input"])
        p.ledger.lock(dims[-rank:], POSITION)
        outs = [out] if isinstance(out, Tensor) else out
        result = [(*dims[:-rank], *(p.ledger.fixed(n, POSITION) for n in t.shape[-rank:])) for t in outs]
        return result[0] if isinstance(out, Tensor) else result

    return rule


def pad(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """Constants at the ends of some dimensions."""
    dims = list(p.dims(a["self"]))
    for i, n in enumerate(out.shape):
        at = 2 * (len(dims) - 1 - i)
        if at < len(a["pad"]) and any(a["pad"][at : at + 2]):
            p.ledger.lock([dims[i]], _PADDED)
            dims[i] = p.ledger.fixed(n, _PADDED)
    return tuple(dims)


def weight_norm(p: Propagation, a: Arguments, out: Sequence[Tensor]) -> list[Dims]:
    """The length g times the direction v / |v|, the norm being over all dimensions but one."""
    v, g, at = p.dims(a["v"]), p.dims(a["g"]), a["dim"]
    dims = tuple(p.ledger.same(x, y) if i == at else x for i, (x, y) in enumerate(zip(v, g, strict=True)))
    return [dims, *(g for _ in out[1:])]
