"""Blocks that split channels in parts: heads, queries with keys and values, halves, shuffles."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from networks import FLAT, IMAGE, TIME, Case, conv, lin, net, of
from torch import Tensor, nn


def _shuffle(s: Any, x: Tensor) -> Tensor:
    h = s.a(x).relu()
    n, c, height, width = h.shape
    return s.b(h.view(n, 3, c // 3, height, width).transpose(1, 2).reshape(n, c, height, width))


def _c2f(s: Any, x: Tensor) -> Tensor:
    parts = list(s.a(x).relu().chunk(2, 1))
    parts.append(parts[-1] + s.m(parts[-1]))
    return s.b(torch.cat(parts, 1))


def _heads(s: Any, x: Tensor) -> Tensor:
    q, k, v = (f(x).unflatten(-1, (4, -1)).transpose(1, 2) for f in (s.q, s.k, s.v))
    return s.b(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def _whole_heads(s: Any, x: Tensor) -> Tensor:
    q, k, v = (f(x).unflatten(-1, (-1, 4)).transpose(1, 2) for f in (s.q, s.k, s.v))
    return s.b((q @ k.transpose(2, 3) / 2).softmax(-1).matmul(v).transpose(1, 2).flatten(2))


def _fused(s: Any, x: Tensor) -> Tensor:
    h = s.a(x)
    q, k, v = h.reshape(*h.shape[:2], 3, 4, -1).permute(2, 0, 3, 1, 4)
    return s.b(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def _shared_keys(s: Any, x: Tensor) -> Tensor:
    """Four heads of queries, of which two each share one of keys and values."""
    q, k, v = (f(x).unflatten(-1, (n, -1)).transpose(1, 2) for f, n in ((s.q, 4), (s.k, 2), (s.v, 2)))
    k, v = (t.repeat_interleave(2, 1) for t in (k, v))
    return s.b((q @ k.transpose(2, 3)).softmax(-1).matmul(v).transpose(1, 2).flatten(2))


def _grouped_convolution(s: Any, x: Tensor) -> Tensor:
    return s.b(s.n(s.a(x)))


def _window_norm(s: Any, x: Tensor) -> Tensor:
    """A normalisation within two parts, by hand."""
    h = s.a(x).view(len(x), 2, -1)
    return s.b((h / h.square().mean(-1, keepdim=True).add(1e-3).sqrt()).flatten(1))


QKV = {name: lin(4, 16) for name in "qkv"}
INPUTS = {f"input of {name}": "input" for name in "qkv"}

SPLIT = [
    Case("channel shuffle", net(_shuffle, a=conv(2, 12), b=conv(12, 3)), IMAGE, {"a": "4 a b"}),
    Case(
        "halves, one through a block",
        net(_c2f, a=conv(2, 16), m=conv(8, 8), b=conv(24, 3)),
        IMAGE,
        {"a": "8 a m b"},
    ),
    Case(
        "chunk to two readers",
        net(lambda s, x: s.b((h := s.a(x).chunk(2, 1))[0]) + s.c(h[1]), a=lin(4, 12), b=lin(6, 3), c=lin(6, 3)),
        FLAT,
        {"a": "6 a b c"},
    ),
    Case(
        "four heads",
        net(_heads, **QKV, b=lin(16, 3)),
        TIME,
        {"q": "4 q k", "v": "4 v b"},
        {"b": "output", **INPUTS},
        exact=False,
    ),
    Case("heads of four", net(_whole_heads, **QKV, b=lin(16, 3)), TIME, {"q": "4 q k v b"}, {"b": "output", **INPUTS}),
    Case("fused queries, keys and values", net(_fused, a=lin(4, 48), b=lin(16, 3)), TIME, {"a": "4 a b"}, exact=False),
    Case(
        "queries that share keys",
        net(_shared_keys, q=lin(4, 16), k=lin(4, 8), v=lin(4, 8), b=lin(16, 3)),
        TIME,
        {"q": "4 q k", "v": "4 v b"},
        {"b": "output", **INPUTS},
    ),
    Case(
        "transposed convolution in groups",
        net(_grouped_convolution, a=conv(2, 8), n=of(nn.ConvTranspose2d, 8, 8, 2, groups=4), b=conv(8, 3)),
        IMAGE,
        {"a": "2 a n", "n": "2 n b"},
    ),
    Case("normalised parts", net(_window_norm, a=lin(4, 12), b=lin(12, 3)), FLAT, {"a": "6 a b"}, exact=False),
]
