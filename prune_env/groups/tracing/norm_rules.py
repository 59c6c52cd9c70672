"""Rules of normalisations: statistics over some dimensions, scales and shifts of their own along others.

The form of a rule is described in `rule_context`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from prune_env.groups.tracing.labels import POSITION, Dims, size_of
from prune_env.groups.tracing.rule_context import Arguments, RuleContext


def batch_norm(p: RuleContext, a: Arguments, out: Sequence[Tensor]) -> list[Dims]:
    """Every channel for itself, with parameters and statistics of its own."""
    dims = p.dims(a["input"])
    channel = dims[1]
    for name in ("weight", "bias", "running_mean", "running_var"):
        if a.get(name) is not None:
            channel = p.ledger.same(channel, p.dims(a[name])[0])
    rest = [tuple(channel if n == size_of(channel) else () for n in t.shape) for t in out[1:]]
    return [(dims[0], channel, *dims[2:]), *rest]


def layer_norm(p: RuleContext, a: Arguments, out: Any) -> Any:
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


def group_norm(p: RuleContext, a: Arguments, out: Sequence[Tensor]) -> list[Dims]:
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


def weight_norm(p: RuleContext, a: Arguments, out: Sequence[Tensor]) -> list[Dims]:
    """The length g times the direction v / |v|, the norm being over all dimensions but one."""
    v, g, at = p.dims(a["v"]), p.dims(a["g"]), a["dim"]
    dims = tuple(p.ledger.same(x, y) if i == at else x for i, (x, y) in enumerate(zip(v, g, strict=True)))
    return [dims, *(g for _ in out[1:])]


def renorm(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Every slice along one dimension is scaled to a norm of at most so much."""
    dims = p.dims(a["self"])
    p.sums([d for i, d in enumerate(dims) if i != a["dim"] % len(dims)])
    return dims
