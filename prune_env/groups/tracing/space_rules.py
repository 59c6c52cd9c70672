"""Rules of operators along dimensions of space or time: pooling, resizing, padding, windows, Fourier transforms.

The form of a rule is described in `rule_context`.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from prune_env.groups.tracing.labels import POSITION, Dims
from prune_env.groups.tracing.rule_context import Arguments, Rule, RuleContext, joined, locked_along

_PADDED = "its dimension is padded"
_PARTS = "its number of parts is fixed"


def spatial(rank: int) -> Rule:
    """Pooling, resizing and padding of the last `rank` dimensions."""

    def rule(p: RuleContext, a: Arguments, out: Any) -> Any:
        dims = p.dims(a["self"] if "self" in a else a["input"])
        if "indices" in a:  # of a pooling that is undone
            dims = joined(p, dims, p.dims(a["indices"]))
        p.ledger.lock(dims[-rank:], POSITION)
        outs = [out] if isinstance(out, Tensor) else out
        result = [(*dims[:-rank], *(p.ledger.fixed(n, POSITION) for n in t.shape[-rank:])) for t in outs]
        return result[0] if isinstance(out, Tensor) else result

    return rule


def pad(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Constants at the ends of some dimensions."""
    dims = list(p.dims(a["self"]))
    for i, n in enumerate(out.shape):
        at = 2 * (len(dims) - 1 - i)
        if at < len(a["pad"]) and any(a["pad"][at : at + 2]):
            p.ledger.lock([dims[i]], _PADDED)
            dims[i] = p.ledger.fixed(n, _PADDED)
    return tuple(dims)


def windows(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """The windows of an image [..., c, h, w] as columns [..., c * kernel, n]."""
    *batch, channel, height, width = p.dims(a["self"])
    p.ledger.lock([height, width], POSITION)
    kernel = math.prod(a["kernel_size"])
    return (*batch, channel + p.ledger.fixed(kernel, POSITION), p.ledger.fixed(out.shape[-1], POSITION))


def from_windows(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """An image [..., c, h, w] as the sum of windows [..., c * kernel, n]."""
    *batch, channel, columns = p.dims(a["self"])
    channel, kernel = p.ledger.reshape((channel,), [out.shape[-3], math.prod(a["kernel_size"])])
    p.ledger.lock([kernel, columns], POSITION)
    return (*batch, channel, *(p.ledger.fixed(n, POSITION) for n in out.shape[-2:]))


def pixel_shuffle(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """[..., c * r * r, h, w] becomes [..., c, h * r, w * r]."""
    *batch, channel, height, width = p.dims(a["self"])
    channel, *parts = p.ledger.reshape((channel,), [out.shape[-3], a["upscale_factor"], a["upscale_factor"]])
    p.ledger.lock([*parts, height, width], POSITION)
    return (*batch, channel, *(p.ledger.fixed(n, POSITION) for n in out.shape[-2:]))


def pixel_unshuffle(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """[..., c, h * r, w * r] becomes [..., c * r * r, h, w]."""
    *batch, channel, height, width = p.dims(a["self"])
    p.ledger.lock([height, width], POSITION)
    parts = p.ledger.fixed(a["downscale_factor"] ** 2, POSITION)
    return (*batch, channel + parts, *(p.ledger.fixed(n, POSITION) for n in out.shape[-2:]))


def channel_shuffle(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Channels [groups, n] are transposed to [n, groups]; the number of groups is fixed."""
    batch, channel, *space = p.dims(a["self"])
    groups, within = p.ledger.reshape((channel,), [a["groups"], out.shape[1] // a["groups"]])
    p.ledger.lock([groups], _PARTS)
    return (batch, within + groups, *space)


def sample_grid(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """The values of an image [b, c, ...] at the places that a grid [b, ..., 2 or 3] names."""
    dims, grid = p.dims(a["input"]), p.dims(a["grid"])
    p.ledger.lock([*dims[2:], *grid[1:]], POSITION)
    return (p.ledger.same(dims[0], grid[0]), dims[1], *(p.ledger.fixed(n, POSITION) for n in out.shape[2:]))


def affine_grid(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """A grid [b, ..., 2 or 3] from matrices [b, 2 or 3, 3 or 4]."""
    batch, *rest = p.dims(a["theta"])
    p.ledger.lock(rest, POSITION)
    return (batch, *(p.ledger.fixed(n, POSITION) for n in out.shape[1:]))


def fourier(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Fourier transforms mix the positions of some dimensions."""
    return locked_along(p, p.dims(a["self"]), {d % out.dim() for d in a["dim"]}, out, POSITION)
