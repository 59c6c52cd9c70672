"""A long list of operators, each between two layers, and what becomes of the channels there.

`tokens` puts an operator between two Linear layers, on h [2, 5, 6]; `image` between two convolutions, on h
[2, 8, 6, 6].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from networks import IO, Case, conv, lin, net, of
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

Between = Callable[[Tensor], Tensor]

ROWS = torch.tensor([3, 0, 1])
MASK = torch.tensor([True, False, True, True, False])
TOKENS, WIDTH, CHANNELS = ((2, 5, 4),), 6, 8
PIXELS = ((2, 2, 6, 6),)


@dataclass(frozen=True)
class Call:
    """An operator between two layers.

    Attributes:
        case: The network.
        channels: How many channels its first layer must have as a group; 0 if it must be locked.
        reason: Part of the reason why it is locked.
        exact: Whether zero weights of removed channels are the same as removing them.
    """

    case: Case
    channels: int
    reason: str = ""
    exact: bool = True


def tokens(name: str, between: Between, channels: int = WIDTH, width: int = WIDTH, exact: bool = True) -> Call:
    build = net(lambda s, x: s.b(between(s.a(x))), a=lin(4, WIDTH), b=lin(width, 3))
    return Call(Case(name, build, TOKENS, {}, IO), channels, exact=exact)


def coupled(name: str, between: Between) -> Call:
    return tokens(name, between, exact=False)


def locked(name: str, between: Between, reason: str, width: int = WIDTH) -> Call:
    build = net(lambda s, x: s.b(between(s.a(x))), a=lin(4, WIDTH), b=lin(width, 3))
    return Call(Case(name, build, TOKENS, {}, IO), 0, reason)


def image(name: str, between: Between, channels: int = CHANNELS, width: int = CHANNELS, exact: bool = True) -> Call:
    build = net(lambda s, x: s.b(between(s.a(x))), a=conv(2, CHANNELS), b=of(nn.Conv2d, width, 3, 1))
    return Call(Case(name, build, PIXELS, {}, IO), channels, exact=exact)


def _rows(h: Tensor) -> Tensor:
    return ROWS[:, None].expand(len(h), -1, h.shape[2])


def _put(h: Tensor) -> Tensor:
    return torch.zeros_like(h).index_put((torch.tensor([0, 1]), torch.tensor([2, 4])), h[:, 0], accumulate=True)


def _write(h: Tensor) -> Tensor:
    out = torch.zeros_like(h)
    out[:, 1:3] = h[:, :2]
    return out + h


def _heads(h: Tensor) -> Tensor:
    return h[:, None].expand(-1, 2, -1, -1)


def _fused(h: Tensor) -> Tensor:
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return F.scaled_dot_product_attention(h[:, None], h[:, None], h[:, None])[:, 0]


ACTIVATIONS = [
    tokens(name, getattr(F, name))
    for name in (
        *("hardswish", "hardsigmoid", "hardtanh", "mish", "silu", "logsigmoid", "softplus", "softsign", "softshrink"),
        *("hardshrink", "tanhshrink", "elu", "celu", "selu", "gelu", "relu6", "leaky_relu", "rrelu", "sigmoid"),
    )
] + [
    tokens(name, getattr(torch, name))
    for name in ("erf", "sin", "cos", "exp", "abs", "square", "atan", "asinh", "sinc", "expm1", "tanh", "relu")
]

POINTWISE = [
    tokens("threshold", lambda h: F.threshold(h, 0.1, 0.2)),
    tokens("where", lambda h: torch.where(h > 0, h, h * 0.1)),
    tokens("masked_fill", lambda h: h.masked_fill(MASK[:, None], 0.5)),
    tokens("lerp", lambda h: torch.lerp(h, h.square(), 0.3)),
    tokens("addcmul", lambda h: torch.addcmul(h, h, h.sin())),
    tokens("addcdiv", lambda h: torch.addcdiv(h, h, h.exp())),
    tokens("maximum", lambda h: torch.maximum(h, h.roll(1, 1))),
    tokens("complex", lambda h: torch.complex(h, h.sin()).abs()),
    tokens("polar", lambda h: torch.polar(h.exp(), h).real),
    tokens("view_as_real", lambda h: torch.view_as_real(torch.complex(h, h)).sum(-1)),
    tokens("view_as_complex", lambda h: torch.view_as_complex(torch.stack([h, h.sin()], -1)).abs()),
    tokens("conjugate", lambda h: (torch.complex(h, h).conj() * torch.complex(h, h)).real),
    tokens("bucketize", lambda h: torch.bucketize(h, torch.linspace(-1, 1, 9)).float() + h),
    tokens("isin", lambda h: h.masked_fill(torch.isin(h, torch.tensor([0.5])), 0.0)),
    tokens("dropout in training", lambda h: F.dropout(h, 0.5, training=True)),
    tokens("dropout2d in training", lambda h: F.dropout1d(h.transpose(1, 2), 0.5, training=True).transpose(1, 2)),
    tokens("alpha dropout", lambda h: F.alpha_dropout(h, 0.5, training=True)),
    tokens("bernoulli", lambda h: h + torch.bernoulli(h.sigmoid())),
    tokens("noise", lambda h: h + torch.randn_like(h) * h.exp()),
    tokens("normal", lambda h: h + torch.normal(h, 1.0)),
    tokens("exponential noise", lambda h: h + torch.empty_like(h).exponential_()),
    coupled("gumbel softmax", lambda h: F.gumbel_softmax(h)),
]

MOVES = [
    tokens("roll", lambda h: h.roll(2, 1)),
    tokens("flip", lambda h: h.flip(1)),
    tokens("flip of channels", lambda h: h.flip(2)),
    tokens("quarter turn", lambda h: h.rot90(1, (0, 1)).rot90(3, (0, 1))),
    tokens("quarter turn of channels", lambda h: h.rot90(1, (1, 2)).transpose(1, 2)),
    tokens("repeat_interleave", lambda h: h.repeat_interleave(2, 1)),
    tokens("repeat_interleave by numbers", lambda h: h.repeat_interleave(torch.tensor([1, 2, 0, 1, 3]), 1)),
    tokens("repeat_interleave of channels", lambda h: h.repeat_interleave(2, 2), width=12),
    tokens("repeat of channels", lambda h: h.repeat(1, 1, 2), width=12),
    tokens("tile", lambda h: h.tile((1, 2, 1))),
    tokens("expand", lambda h: h[:, None].expand(-1, 3, -1, -1)),
    tokens("stack", lambda h: torch.stack([h, h.sin()], 1)),
    tokens("unbind", lambda h: torch.stack(h.unbind(1)[::-1], 1)),
    tokens("split", lambda h: torch.cat(h.split([2, 3], 1)[::-1], 1)),
    tokens("unsafe_split", lambda h: torch.cat(torch.unsafe_split(h, 2, 1)[::-1], 1)),
    tokens("unsafe_chunk", lambda h: torch.cat(torch.unsafe_chunk(h, 2, 1)[::-1], 1)),
    tokens("tensor_split", lambda h: torch.cat(h.tensor_split(2, 1)[::-1], 1)),
    tokens("unfold", lambda h: h.unfold(1, 2, 1).sum(-1)),
    tokens("diagonal", lambda h: h[:, :2].diagonal(0, 0, 1).t()),
    tokens("diag_embed of channels", lambda h: torch.diag_embed(h).sum(-1)),
    tokens("diagonal of channels", lambda h: (h[..., None] * h[:, :, None]).diagonal(0, 2, 3)),
    tokens("trace of channels", lambda h: h * (h[0].t() @ h[0]).trace()),
    tokens("triu", lambda h: h.permute(2, 0, 1).triu().permute(1, 2, 0)),
    tokens("tril", lambda h: h.permute(2, 0, 1).tril(1).permute(1, 2, 0)),
    tokens("meshgrid", lambda h: h * torch.meshgrid(h[0, :, :].sum(1), h[:, 0].sum(1), indexing="xy")[0][..., None]),
    tokens("movedim", lambda h: h.movedim(2, 0).flatten(1).view(-1, 2, 5).movedim(0, 2)),
    locked("roll of channels", lambda h: h.roll(1, 2), "rolled"),
    locked("unfold of channels", lambda h: h.unfold(2, 2, 1).sum(-1), "order", 5),
    locked("triu of channels", lambda h: h.triu(), "order"),
    locked("other diagonal", lambda h: (h[..., None] * h[:, :, None]).diagonal(1, 2, 3), "order", 5),
]

INDEXING = [
    tokens("index", lambda h: h[:, ROWS]),
    tokens("index by two", lambda h: h[torch.tensor([0, 1]), torch.tensor([3, 2])]),
    tokens("index_select", lambda h: h.index_select(1, ROWS)),
    tokens("mask of tokens", lambda h: h[:, MASK]),
    tokens("mask of batch and tokens", lambda h: h[torch.stack([MASK, ~MASK])]),
    tokens("boolean write", lambda h: h.index_put((torch.stack([MASK, ~MASK]),), torch.zeros(()))),
    tokens("gather", lambda h: h.gather(1, _rows(h))),
    tokens("take_along_dim", lambda h: torch.take_along_dim(h, ROWS[None, :, None], 1)),
    tokens("scatter", lambda h: h.scatter(1, _rows(h), h[:, :3].sin())),
    tokens("scatter of a number", lambda h: h.scatter(1, _rows(h), 0.5)),
    tokens("scatter_add", lambda h: torch.zeros_like(h).scatter_add(1, _rows(h), h[:, :3])),
    tokens("scatter_reduce", lambda h: h.scatter_reduce(1, _rows(h), h[:, :3], "amax")),
    tokens("index_add", lambda h: h.index_add(1, ROWS, h[:, :3])),
    tokens("index_copy", lambda h: h.index_copy(1, ROWS, h[:, :3].sin())),
    tokens("index_fill", lambda h: h.index_fill(1, ROWS, 0.5)),
    tokens("index_reduce", lambda h: h.index_reduce(1, ROWS, h[:, :3], "mean")),
    tokens("index_put", _put),
    tokens("written slice", _write),
    tokens("select_scatter", lambda h: h.select_scatter(h[:, 0].sin(), 1, 2)),
    tokens("slice_scatter", lambda h: h.slice_scatter(h[:, :2].sin(), 1, 2, 4)),
    tokens("masked_scatter of rows", lambda h: h.masked_scatter(MASK[:, None].expand(2, 5, h.shape[2]), h.sin())),
    locked("index of channels", lambda h: h[..., ROWS], "by number", 3),
    locked("gather of channels", lambda h: h.gather(2, ROWS.expand(2, 5, 3)), "by number", 3),
    locked("scatter of channels", lambda h: h.scatter(2, ROWS.expand(2, 5, 3), 0.5), "by number"),
    locked("index_add of channels", lambda h: h.index_add(2, ROWS, h[..., :3]), "by number"),
    locked("mask of channels", lambda h: h[..., torch.tensor([1, 0, 1, 1, 0, 0]).bool()], "by number", 3),
    locked("take", lambda h: h + h.take(torch.tensor([7])), "by number"),
    locked("masked_select", lambda h: h + h.masked_select(h > 0).sum(), "mask"),
    locked("masked_scatter of values", lambda h: h.masked_scatter(h > 0, h.sin()), "mask"),
]

RANKS = [
    tokens("cumsum", lambda h: h.cumsum(1)),
    tokens("cumprod", lambda h: h.cumprod(1)),
    tokens("logcumsumexp", lambda h: h.logcumsumexp(1)),
    tokens("cummax", lambda h: h.cummax(1)[0]),
    tokens("sort", lambda h: h.sort(1)[0]),
    tokens("argsort", lambda h: h.gather(1, h.argsort(1))),
    tokens("topk", lambda h: h.topk(2, 1)[0]),
    tokens("kthvalue", lambda h: h.kthvalue(2, 1)[0]),
    tokens("median", lambda h: h.median(1)[0]),
    tokens("argmax", lambda h: h * h.argmax(1, keepdim=True)),
    tokens("quantile", lambda h: h.quantile(0.3, 1)),
    tokens("count_nonzero", lambda h: h.sum(1) + h.relu().count_nonzero(1)),
    tokens("nansum", lambda h: h.nansum(1)),
    tokens("std", lambda h: h.std(1)),
    tokens("var_mean", lambda h: sum(torch.var_mean(h, 1, correction=0))),
    tokens("vector_norm", lambda h: torch.linalg.vector_norm(h, 3, 1)),
    tokens("logsumexp", lambda h: h.logsumexp(1)),
    tokens("softmax", lambda h: h.softmax(1)),
    tokens("log_softmax", lambda h: h.log_softmax(1)),
    tokens("norm of channels", lambda h: h * torch.linalg.vector_norm(h, dim=2, keepdim=True)),
    tokens("normalize", lambda h: F.normalize(h, dim=2)),
    tokens("renorm", lambda h: h.permute(1, 0, 2).renorm(2, 0, 0.5).permute(1, 0, 2)),
    coupled("softmax of channels", lambda h: h.softmax(2)),
    coupled("log_softmax of channels", lambda h: h.log_softmax(2)),
    coupled(
        "mean and variance of channels", lambda h: (h - h.mean(2, True)) / (h.var(2, keepdim=True, correction=0) + 0.1)
    ),
    locked("cumsum of channels", lambda h: h.cumsum(2), "order"),
    locked("sort of channels", lambda h: h.sort(2)[0], "compared"),
    locked("argmax of channels", lambda h: h * h.argmax(2, keepdim=True), "compared"),
    locked("median of channels", lambda h: h - h.median(2, keepdim=True)[0], "compared"),
    locked("quantile of channels", lambda h: h - h.quantile(0.3, 2, keepdim=True), "compared"),
]

PRODUCTS = [
    tokens("einsum, implicit", lambda h: torch.einsum("btc,st", h, torch.ones(3, 5)).transpose(1, 2)),
    tokens("einsum, ellipsis", lambda h: torch.einsum("...tc,st->...sc", h, torch.ones(3, 5))),
    tokens("einsum, repeated letter", lambda h: torch.einsum("ttc->tc", h[:, :2])),
    tokens("einsum, outer product", lambda h: torch.einsum("btc,bsc->btsc", h, h)),
    tokens("einsum, outer product of channels", lambda h: torch.einsum("btc,btd->btcd", h, h).sum(2)),
    tokens("einsum, sum", lambda h: torch.einsum("btc->bc", h)),
    tokens("einsum, three tensors", lambda h: torch.einsum("btc,bsc,bsd->btd", h, h, h.sin())),
    tokens("einsum, batch", lambda h: torch.einsum("btc,btc->bt", h, h)[..., None] * h),
    tokens("einsum, contraction of channels", lambda h: torch.einsum("btc,bsc->bts", h, h) @ h),
    tokens("matmul, broadcast", lambda h: torch.ones(3, 1, 4, 5) @ h),
    tokens("bmm", lambda h: torch.bmm(h, torch.bmm(h.transpose(1, 2), h))),
    tokens("baddbmm", lambda h: torch.baddbmm(h, h @ h.transpose(1, 2), h)),
    tokens("addbmm", lambda h: torch.addbmm(h[0], h @ h.transpose(1, 2), h)),
    tokens("addr", lambda h: torch.addr(h[0], h[0].sum(1), h[1].sum(0))),
    tokens("tensordot", lambda h: torch.tensordot(torch.ones(3, 5), h, ([1], [1])).transpose(0, 1)),
    tokens("cdist", lambda h: torch.cdist(h, h) @ h),
    tokens("pdist", lambda h: h * F.pdist(h[0]).sum()),
    tokens("dist", lambda h: h * torch.dist(h[0], h[1])),
    tokens("cosine similarity", lambda h: h * F.cosine_similarity(h[:1], h[1:], 2)[..., None]),
    tokens("cross", lambda h: torch.linalg.cross(h[:, :3], h[:, 1:4], dim=1)),
    coupled("attention", lambda h: F.scaled_dot_product_attention(h, h, h)),
    coupled("attention, causal", lambda h: F.scaled_dot_product_attention(h, h, h, is_causal=True)),
    coupled("attention, mask", lambda h: F.scaled_dot_product_attention(h, h, h, MASK.expand(5, 5))),
    coupled("attention, bias", lambda h: F.scaled_dot_product_attention(h, h, h, torch.arange(25.0).view(5, 5))),
    coupled(
        "attention, shared keys",
        lambda h: F.scaled_dot_product_attention(_heads(h), h[:, None], h[:, None], enable_gqa=True).sum(1),
    ),
    coupled("attention, fused kernel", _fused),
    locked("cross of channels", lambda h: torch.linalg.cross(h[..., :3], h[..., 3:], dim=2), "order", 3),
    locked("loss against numbers", lambda h: h * F.cross_entropy(h[:, 0], torch.tensor([0, 1])), "compared"),
]

FOURIER = [
    tokens("fft", lambda h: torch.fft.fft(h, dim=1).real),
    tokens("rfft and back", lambda h: torch.fft.irfft(torch.fft.rfft(h, dim=1), 5, dim=1)),
    tokens("fft2", lambda h: torch.fft.fft2(h, dim=(0, 1)).abs()),
    tokens("fftshift", lambda h: torch.fft.fftshift(h, 1)),
    locked("fft of channels", lambda h: torch.fft.fft(h, dim=2).real, "order"),
]

IMAGES = [
    image("pixel_shuffle", lambda h: F.pixel_shuffle(h, 2), 2, 2),
    image("pixel_unshuffle", lambda h: F.pixel_unshuffle(h, 2), width=32),
    image("windows and back", lambda h: F.fold(F.unfold(h, 3, padding=1), (6, 6), 3, padding=1)),
    image("windows", lambda h: F.unfold(h, 2, stride=2).unflatten(2, (3, 3)), width=32),
    image("grid_sample", lambda h: F.grid_sample(h, torch.linspace(-1, 1, 36).view(2, 3, 3, 2), align_corners=False)),
    *(
        image(f"resized, {mode}", lambda h, mode=mode: F.interpolate(h, size=9, mode=mode))
        for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area")
    ),
    image("max pool with its way back", lambda h: F.max_unpool2d(*F.max_pool2d(h, 2, return_indices=True), 2)),
    image("average pool", lambda h: F.avg_pool2d(h, 3)),
    image("adaptive average pool", lambda h: F.adaptive_avg_pool2d(h, 4)),
    image("adaptive max pool", lambda h: F.adaptive_max_pool2d(h, 4)),
    image("lp pool", lambda h: F.lp_pool2d(h.exp(), 2, 2)),
    *(
        image(f"padded, {mode}", lambda h, mode=mode: F.pad(h, (1, 2, 0, 1), mode))
        for mode in ("constant", "reflect", "replicate", "circular")
    ),
    image("instance norm", lambda h: F.instance_norm(h)),
    image("channel pool", lambda h: h * torch.cat([h.mean(1, True), h.amax(1, True)], 1).sum(1, True), exact=False),
    image("dropout2d in training", lambda h: F.dropout2d(h, 0.5, training=True)),
]

CALLS = [
    *(ACTIVATIONS + POINTWISE + MOVES + INDEXING + RANKS + PRODUCTS + FOURIER + IMAGES),
]
