"""One network for each construct whose channels can be removed, and the groups that it must have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from networks import FLAT, IMAGE, IO, TIME, Build, Case, conv, lin, net, of, seq, vec
from torch import Tensor, nn
from torch.func import functional_call, vmap

AB, ANB = {"a": "6 a b"}, {"a": "6 a n b"}


class Ensemble(nn.Module):
    """Three heads with stacked parameters, called through vmap."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 6)
        self.w1, self.w2 = nn.Parameter(torch.randn(3, 5, 6)), nn.Parameter(torch.randn(3, 1, 5))
        self._head = [nn.Sequential(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 1, bias=False)).to("meta")]

    def forward(self, x: Tensor) -> Tensor:
        def head(w1: Tensor, w2: Tensor, z: Tensor) -> Tensor:
            return functional_call(self._head[0], {"0.weight": w1, "2.weight": w2}, (z,))

        return vmap(head, (0, 0, None))(self.w1, self.w2, self.a(x))


class Buffered(nn.Module):
    """Scales the channels by a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)
        self.register_buffer("scale", torch.arange(1.0, 7.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x) * self.scale)


def _norm(name: str, norm: Build, exact: bool = False, prunable: dict[str, str] | None = None) -> Case:
    build = net(lambda s, x: s.b(F.relu(s.n(s.a(x)))), a=conv(2, 6), n=norm, b=conv(6, 3))
    return Case(name, build, IMAGE, prunable or ANB, exact=exact)


def _between(
    name: str, between: Callable[..., Tensor], exact: bool = True, inputs: Any = FLAT, **prunable: str
) -> Case:
    build = net(lambda s, x: s.b(between(s.a(x))), a=lin(4, 6), b=lin(6, 3))
    return Case(name, build, inputs, prunable or AB, exact=exact)


PRUNABLE = [
    _between("linear", torch.relu),
    Case("inference mode", net(torch.inference_mode()(lambda s, x: s.b(s.a(x))), a=lin(4, 6), b=lin(6, 3)), FLAT, AB),
    Case("conv1d", net(lambda s, x: s.b(s.a(x)), a=of(nn.Conv1d, 2, 6, 3), b=of(nn.Conv1d, 6, 3, 3)), ((1, 2, 9),), AB),
    Case("conv2d", net(lambda s, x: s.b(s.a(x).relu()), a=conv(2, 6), b=conv(6, 3)), IMAGE, AB),
    Case(
        "transposed convolution",
        net(lambda s, x: s.b(s.a(x)), a=of(nn.ConvTranspose2d, 2, 6, 3), b=of(nn.ConvTranspose2d, 6, 3, 3, stride=2)),
        IMAGE,
        AB,
    ),
    Case(
        "pooling and resizing",
        net(lambda s, x: s.b(F.interpolate(F.max_pool2d(s.a(x), 2), scale_factor=2)), a=conv(2, 6), b=conv(6, 3)),
        IMAGE,
        AB,
    ),
    _norm("depthwise", conv(6, 6, groups=6), exact=True),
    Case(
        "depthwise with two filters per channel",
        net(lambda s, x: s.b(s.n(s.a(x))), a=conv(2, 6), n=conv(6, 12, groups=6), b=conv(12, 3)),
        IMAGE,
        ANB,
    ),
    Case(
        "convolution in two groups",
        net(lambda s, x: s.b(s.n(s.a(x))), a=conv(2, 6), n=conv(6, 8, groups=2), b=conv(8, 3)),
        IMAGE,
        {"a": "3 a n", "n": "4 n b"},
    ),
    Case(
        "transposed convolution in two groups",
        net(lambda s, x: s.b(s.n(s.a(x))), a=conv(2, 6), n=of(nn.ConvTranspose2d, 6, 8, 2, groups=2), b=conv(8, 3)),
        IMAGE,
        {"a": "3 a n", "n": "4 n b"},
    ),
    _norm("depthwise transposed", of(nn.ConvTranspose2d, 6, 6, 2, groups=6), exact=True),
    Case(
        "depthwise transposed with two filters per channel",
        net(lambda s, x: s.b(s.n(s.a(x))), a=conv(2, 6), n=of(nn.ConvTranspose2d, 6, 12, 2, groups=6), b=conv(12, 3)),
        IMAGE,
        ANB,
    ),
    _norm("batch norm", of(nn.BatchNorm2d, 6), exact=True),
    _norm("instance norm", of(nn.InstanceNorm2d, 6, affine=True), exact=True),
    _norm("instance norm with statistics", of(nn.InstanceNorm2d, 6, affine=True, track_running_stats=True), exact=True),
    _norm("group norm, one group", of(nn.GroupNorm, 1, 6)),
    _norm("group norm, two groups", of(nn.GroupNorm, 2, 6), prunable={"a": "3 a n b"}),
    _norm("layer norm over channels, height and width", of(nn.LayerNorm, (6, 5, 5))),
    Case(
        "layer norm",
        net(lambda s, x: s.b(s.n(s.a(x))), a=lin(4, 6), n=of(nn.LayerNorm, 6), b=lin(6, 3)),
        TIME,
        ANB,
        exact=False,
    ),
    Case(
        "RMS norm",
        net(lambda s, x: s.b(s.n(s.a(x))), a=lin(4, 6), n=of(nn.RMSNorm, 6), b=lin(6, 3)),
        FLAT,
        ANB,
        exact=False,
    ),
    _between("RMS norm by hand", lambda h: h * h.pow(2).mean(-1, keepdim=True).rsqrt(), exact=False),
    _between("softmax over channels", lambda h: h.softmax(-1), exact=False),
    Case("PReLU", net(lambda s, x: s.b(s.n(s.a(x))), a=lin(4, 6), n=of(nn.PReLU, 6), b=lin(6, 3)), FLAT, ANB),
    Case(
        "PReLU with one slope", net(lambda s, x: s.b(s.n(s.a(x))), a=lin(4, 6), n=of(nn.PReLU), b=lin(6, 3)), FLAT, AB
    ),
    Case(
        "embedding",
        net(lambda s, x: s.b(s.a(x.long())), a=of(nn.Embedding, 7, 6), b=lin(6, 3)),
        FLAT,
        AB,
        {"b": "output"},
    ),
    Case(
        "embedding of bags",
        net(lambda s, x: s.b(s.a(x.long())), a=of(nn.EmbeddingBag, 7, 6), b=lin(6, 3)),
        FLAT,
        AB,
        {"b": "output"},
    ),
    Case(
        "one-hot vectors",
        net(lambda s, x: s.b(F.one_hot(x.long().clamp(0, 3), 4).float() @ s.a), a=vec(4, 6), b=lin(6, 3)),
        FLAT,
        AB,
        {"b": "output", "input of a": "by number"},
    ),
    Case(
        "residual",
        net(lambda s, x: s.b((h := s.a(x)) + s.c(h)), a=lin(4, 6), c=seq(lin(6, 5), nn.ReLU, lin(5, 6)), b=lin(6, 3)),
        FLAT,
        {"a": "6 a c.0 c.2 b", "c.0": "5 c.0 c.2"},
    ),
    Case(
        "residual to the input",
        net(lambda s, x: s.b(x + s.a(x)), a=seq(lin(4, 5), nn.ReLU, lin(5, 4)), b=lin(4, 3)),
        FLAT,
        {"a.0": "5 a.0 a.2"},
        {"input of a.0": "input", "a.2": "input", "input of b": "input", "b": "output"},
    ),
    Case(
        "residual to the output",
        net(lambda s, x: (h := s.a(x)) + s.b(h.relu()), a=lin(4, 6), b=seq(lin(6, 5), nn.ReLU, lin(5, 6))),
        FLAT,
        {"b.0": "5 b.0 b.2"},
        {"input of a": "input", "a": "output"},
    ),
    Case(
        "gate",
        net(lambda s, x: s.b(s.a(x).sigmoid() * s.c(x)), a=lin(4, 6), c=lin(4, 6), b=lin(6, 3)),
        FLAT,
        {"a": "6 a c b"},
        IO | {"input of c": "input"},
    ),
    Case(
        "gate of one number",
        net(lambda s, x: s.b(s.a(x).sigmoid() * s.c(x)), a=lin(4, 1), c=lin(4, 6), b=lin(6, 3)),
        FLAT,
        {"c": "6 c b"},
        IO | {"input of c": "input"},
    ),
    Case(
        "squeeze-excite",
        net(
            lambda s, x: s.b(
                (h := s.a(x)) * s.c(F.adaptive_avg_pool2d(h, 1).flatten(1))[:, :, None, None].expand_as(h)
            ),
            a=conv(2, 6),
            c=seq(lin(6, 4), nn.ReLU, lin(4, 6), nn.Sigmoid),
            b=conv(6, 3),
        ),
        IMAGE,
        {"a": "6 a c.0 c.2 b", "c.0": "4 c.0 c.2"},
    ),
    Case(
        "concatenation, raw input first",
        net(lambda s, x, u: s.b(torch.cat([u, s.a(x)], -1)), a=lin(4, 6), b=lin(8, 3)),
        ((2, 4), (2, 2)),
        AB,
        IO | {"input of b": "input"},
    ),
    Case(
        "concatenation, raw input between",
        net(lambda s, x, u: s.b(torch.cat([h := s.a(x), u, h], -1)), a=lin(4, 6), b=lin(14, 3)),
        ((2, 4), (2, 2)),
        AB,
        IO | {"input of b": "input"},
    ),
    Case(
        "concatenation of two, normalised",
        net(
            lambda s, x: s.b(s.n(torch.cat([s.a(x), s.c(x)], 1))),
            a=lin(4, 6),
            c=lin(4, 5),
            n=of(nn.BatchNorm1d, 11),
            b=lin(11, 3),
        ),
        FLAT,
        {"a": "6 a n b", "c": "5 c n b"},
        IO | {"input of c": "input"},
    ),
    Case(
        "dense connections",
        net(
            lambda s, x: s.b(torch.cat([h := torch.cat([x, s.a(x)], 1), s.c(h)], 1)),
            a=conv(2, 6),
            c=conv(8, 4),
            b=conv(12, 3),
        ),
        IMAGE,
        {"a": "6 a c b", "c": "4 c b"},
        IO | {"input of c": "input", "input of b": "input"},
    ),
    Case(
        "module used twice in a row",
        net(lambda s, x: s.b(s.c(s.c(s.a(x)).relu())), a=lin(4, 6), c=lin(6, 6), b=lin(6, 3)),
        FLAT,
        {"a": "6 a c b"},
    ),
    Case(
        "module used twice side by side",
        net(lambda s, x, y: s.b(s.a(x).relu() + s.a(y)), a=lin(4, 6), b=lin(6, 3)),
        ((2, 4), (2, 4)),
        AB,
    ),
    Case(
        "recurrent dynamics, raw action first",
        net(
            lambda s, x, u: [
                s.b(z := s.c(torch.cat([u, s.c(torch.cat([u, s.a(x)], 1))], 1))),
                s.q(torch.cat([z, u], 1)),
            ],
            a=lin(4, 6),
            c=seq(lin(8, 5), nn.ELU, lin(5, 6)),
            b=lin(6, 3),
            q=lin(8, 1),
        ),
        ((2, 4), (2, 2)),
        {"a": "6 a c.0 c.2 b q", "c.0": "5 c.0 c.2"},
        IO | {"input of c.0": "input", "input of q": "input"},
    ),
    Case(
        "convolution, flatten, linear",
        net(lambda s, x: s.b(s.a(x).relu().flatten(1)), a=conv(2, 6), b=lin(150, 3)),
        IMAGE,
        AB,
    ),
    Case(
        "flatten, batch norm, linear",
        net(lambda s, x: s.b(s.n(s.a(x).flatten(1))), a=conv(2, 6), n=of(nn.BatchNorm1d, 150), b=lin(150, 3)),
        IMAGE,
        ANB,
    ),
    Case(
        "linear, unflatten, convolution",
        net(lambda s, x: s.b(s.a(x).view(len(x), -1, 2, 2)), a=lin(4, 24), b=conv(6, 3)),
        FLAT,
        AB,
    ),
    Case("channels last", net(lambda s, x: s.b(s.a(x).permute(0, 2, 3, 1)), a=conv(2, 6), b=lin(6, 3)), IMAGE, AB),
    Case(
        "mixing over time",
        net(
            lambda s, x: s.b((h := s.a(x)) + s.c(h.transpose(1, 2)).transpose(1, 2)),
            a=lin(4, 6),
            c=seq(lin(5, 7), nn.ReLU, lin(7, 5)),
            b=lin(6, 3),
        ),
        TIME,
        AB | {"c.0": "7 c.0 c.2"},
        IO | {"input of c.0": "input", "c.2": "input"},
    ),
    Case(
        "bare vectors",
        net(lambda s, x: s.b(s.a(x) * s.v + s.w), a=lin(4, 6), v=vec(6), w=vec(1, 6), b=lin(6, 3)),
        FLAT,
        {"a": "6 a v w b"},
    ),
    Case(
        "bare vector over an image",
        net(lambda s, x: s.b(s.a(x) * s.v[:, None, None]), a=conv(2, 6), v=vec(6), b=conv(6, 3)),
        IMAGE,
        {"a": "6 a v b"},
    ),
    Case(
        "learned starting state",
        net(lambda s, x: s.b(s.a(x) + s.c(s.z)), a=lin(4, 6), z=vec(5), c=lin(5, 6), b=lin(6, 3)),
        FLAT,
        {"a": "6 a c b", "z": "5 z c"},
    ),
    Case(
        "bare matrix",
        net(lambda s, x: s.b(torch.einsum("bi,io->bo", x, s.a)), a=vec(4, 6), b=lin(6, 3)),
        FLAT,
        AB,
    ),
    Case("buffer", Buffered, FLAT, {"a": "6 a scale b"}),
    Case(
        "heads read by several components",
        net(lambda s, x: {"b": s.b(h := s.a(x)), "c": (s.c(h), None)}, a=lin(4, 6), b=lin(6, 3), c=lin(6, 1)),
        FLAT,
        {"a": "6 a b c"},
    ),
    Case(
        "component behind no_grad and detach",
        net(lambda s, x: (s.b(h := s.a(x)), torch.no_grad()(s.c)(h.detach())), a=lin(4, 6), b=lin(6, 3), c=lin(6, 1)),
        FLAT,
        {"a": "6 a b c"},
    ),
    _between("gated linear unit", lambda h: F.glu(torch.cat([h, h], 1)), exact=False),
    Case(
        "chunk, gated", net(lambda s, x: s.b((h := s.a(x).chunk(2, 1))[0] * h[1]), a=lin(4, 12), b=lin(6, 3)), FLAT, AB
    ),
    Case("gate of halves", net(lambda s, x: s.b(F.glu(s.a(x))), a=lin(4, 12), b=lin(6, 3)), FLAT, AB),
    Case(
        "reparametrised latent",
        net(
            lambda s, x: s.b((h := s.a(x).chunk(2, 1))[0] + torch.randn_like(h[0]) * h[1].exp()),
            a=lin(4, 12),
            b=lin(6, 3),
        ),
        FLAT,
        AB,
        exact=False,
    ),
    Case(
        "simplices",
        net(lambda s, x: s.b(s.a(x).view(len(x), -1, 4).softmax(-1).flatten(1)), a=lin(4, 12), b=lin(12, 3)),
        FLAT,
        {"a": "3 a b"},
    ),
    Case("maxout", net(lambda s, x: s.b(s.a(x).view(len(x), -1, 2).amax(-1)), a=lin(4, 12), b=lin(6, 3)), FLAT, AB),
    Case(
        "attention by hand",
        net(
            lambda s, x: s.b((s.q(h := s.a(x)) @ s.k(h).transpose(1, 2)).softmax(-1) @ s.v(h)),
            a=lin(4, 6),
            q=lin(6, 5),
            k=lin(6, 5),
            v=lin(6, 7),
            b=lin(7, 3),
        ),
        TIME,
        {"a": "6 a q k v", "q": "5 q k", "v": "7 v b"},
    ),
    Case("GRU", net(lambda s, x: s.b(s.a(x)[0]), a=of(nn.GRU, 4, 6, batch_first=True), b=lin(6, 3)), TIME, AB),
    Case(
        "LSTM behind a linear layer",
        net(lambda s, x: s.b(s.n(s.a(x))[0]), a=lin(4, 6), n=of(nn.LSTM, 6, 5), b=lin(5, 3)),
        TIME,
        {"a": "6 a n", "n": "5 n b"},
    ),
    Case("GRU cell, two steps", net(lambda s, x: s.b(s.a(x, s.a(x))), a=of(nn.GRUCell, 4, 6), b=lin(6, 3)), FLAT, AB),
    Case(
        "tied weights",
        net(lambda s, x: F.linear(s.a(x).relu(), s.a.weight.t()), a=lin(4, 6)),
        FLAT,
        {"a": "6 a"},
        {"a[0:4]": "input"},
    ),
    Case(
        "weight norm",
        net(
            lambda s, x: s.b(s.a(x).relu()),
            a=lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 6)),
            b=lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 3)),
        ),
        FLAT,
        AB,
        exact=False,
    ),
    Case(
        "bilinear",
        net(lambda s, x: s.b(s.n(s.a(x), s.c(x))), a=lin(4, 6), c=lin(4, 7), n=of(nn.Bilinear, 6, 7, 5), b=lin(5, 3)),
        FLAT,
        {"a": "6 a n", "c": "7 c n", "n": "5 n b"},
        IO | {"input of c": "input"},
    ),
    Case(
        "ensemble through vmap",
        Ensemble,
        FLAT,
        {"a": "6 a w1", "w1": "5 w1 w2"},
        {"input of a": "input", "w1[0:3]": "output"},
    ),
]
