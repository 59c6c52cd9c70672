"""One network for each construct whose channels must not be removed, and the reason that must be given."""

from __future__ import annotations

from collections.abc import Callable

import torch
from networks import FLAT, IMAGE, IO, TIME, Case, conv, lin, net, of
from torch import Tensor, nn


def zeroed_slice(h: Tensor) -> Tensor:
    h = h.clone()
    h[:, :2].zero_()
    return h


def _locked(name: str, between: Callable[..., Tensor], reason: str, width: int = 6, **more: str) -> Case:
    """`a` is locked because of what happens to its output of 6 channels."""
    build = net(lambda s, x: s.b(between(s.a(x))), a=lin(4, 6), b=lin(width, 3))
    return Case(name, build, FLAT, {}, IO | {"a": reason} | more)


LOCKED = [
    _locked("positions in order", lambda h: h.cumsum(1), "order", **{"input of b": "order"}),
    _locked("picked by number", lambda h: h[:, torch.tensor([1, 0, 3])], "by number", 3, **{"input of b": "by number"}),
    _locked("sorted out", lambda h: h.topk(3)[0], "compared", 3, **{"input of b": "compared"}),
    _locked("rolled around", lambda h: h.roll(1, 1), "rolled", **{"input of b": "rolled"}),
    _locked("operator without a rule", lambda h: torch.linalg.qr(h)[1], "qr", **{"input of b": "qr"}),
    _locked("constant from outside", lambda h: h * torch.arange(6.0), "external", **{"input of b": "external"}),
    _locked("constant of fixed size", lambda h: h + torch.zeros(6), "dry cut"),
    _locked("fixed reshape", lambda h: h.view(2, 3, 2).flatten(1), "dry cut"),
    _locked("all dimensions of size 1 squeezed", lambda h: h.squeeze(), "dry cut"),
    _locked("constant slice zeroed", zeroed_slice, "dry cut"),
    _locked("constant slice scaled", lambda h: torch.cat([h[:, :2] * 2, h[:, 2:]], 1), "dry cut"),
    Case(
        "means of constant slices",
        net(
            lambda s, x: s.b(torch.stack([(h := s.a(x))[:, :6].mean(1), h[:, 6:].mean(1)], 1)),
            a=lin(4, 12),
            b=lin(2, 3),
        ),
        FLAT,
        {},
        IO | {"a": "dry cut", "input of b": "order"},
    ),
    Case(
        "group norm, a group for each channel",
        net(lambda s, x: s.b(s.n(s.a(x))), a=conv(2, 6), n=of(nn.GroupNorm, 6, 6), b=conv(6, 3)),
        IMAGE,
        {},
        IO | {"a": "hang together"},
    ),
    Case(
        "layer norm without weights",
        net(lambda s, x: s.b(s.n(s.a(x))), a=lin(4, 6), n=of(nn.LayerNorm, 6, elementwise_affine=False), b=lin(6, 3)),
        FLAT,
        {},
        IO | {"a": "dry cut"},
    ),
    Case(
        "attention of PyTorch",
        net(
            lambda s, x: s.b(s.n(h := s.a(x), h, h)[0]),
            a=lin(4, 8),
            n=of(nn.MultiheadAttention, 8, 2, batch_first=True),
            b=lin(8, 3),
        ),
        TIME,
        {"n.out_proj": "8 n.out_proj b"},
        IO | {"a": "dry cut", "n": "dry cut"},
    ),
    Case(
        "LSTM with projection",
        net(lambda s, x: s.b(s.a(x)[0]), a=of(nn.LSTM, 4, 6, proj_size=3), b=lin(3, 3)),
        TIME,
        {"a[0:3]": "3 a b"},
        IO | {"a[0:24]": "dry cut"},
    ),
    Case(
        "output that is not returned",
        net(lambda s, x: (s.b(h := s.a(x)), s.c(h))[0], a=lin(4, 6), b=lin(6, 3), c=lin(6, 5)),
        FLAT,
        {"a": "6 a b c"},
        IO | {"c": "does not return"},
    ),
    Case(
        "unused layer",
        net(lambda s, x: s.b(x), a=lin(4, 6), b=lin(4, 3)),
        FLAT,
        {},
        {"input of b": "input", "b": "output", "a": "not reach"},
    ),
    Case(
        "script module",
        net(lambda s, x: s.b(s.a(x)), a=lambda: torch.jit.script(nn.Linear(4, 6)), b=lin(6, 3)),
        FLAT,
        {},
        {"a": "cannot be followed", "b": "cannot be followed"},
    ),
]
