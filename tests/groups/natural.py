"""Small versions of networks from practice that move, pick and scatter along other dimensions than channels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from networks import FLAT, IO, TIME, Case, lin, net, of, vec
from torch import Tensor, nn

SOURCE, TARGET = torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 0, 2]])
NODES = ((4, 4),)


def _graph_attention(s: Any, x: Tensor) -> Tensor:
    h = s.a(x)
    logits = F.leaky_relu(s.l(h)[SOURCE] + s.r(h)[TARGET], 0.2)
    most = torch.full((len(x), 1), -1e9).scatter_reduce(0, TARGET[:, None], logits, "amax")
    weights = (logits - most[TARGET]).exp()
    total = torch.zeros(len(x), 1).index_add(0, TARGET, weights)
    return s.b(torch.zeros_like(h).index_add(0, TARGET, h[SOURCE] * (weights / total[TARGET])).relu())


def _graph_convolution(s: Any, x: Tensor) -> Tensor:
    edges = torch.sparse_coo_tensor(torch.stack([TARGET, SOURCE]), torch.ones(5, dtype=x.dtype), (4, 4))
    return s.b(torch.sparse.mm(edges, s.a(x)).relu())


def _neighbours(s: Any, x: Tensor) -> Tensor:
    h = s.a(x)
    rows = TARGET[:, None].expand(-1, h.shape[1])
    mean = torch.zeros_like(h).scatter_reduce(0, rows, h[SOURCE], "mean", include_self=False)
    return s.b(torch.cat([h, mean], 1))


def _experts(s: Any, x: Tensor) -> Tensor:
    h = s.a(x)
    weights, chosen = s.g(x).softmax(-1).topk(2, -1)
    out = torch.zeros_like(h)
    for number, expert in enumerate((s.e, s.f, s.h)):
        row, slot = (chosen == number).nonzero(as_tuple=True)
        out = out.index_add(0, row, expert(h[row]) * weights[row, slot, None])
    return s.b(h + out)


def _codebook(s: Any, x: Tensor) -> Tensor:
    h = s.a(x)
    q = s.v(torch.cdist(h, s.v.weight).argmin(-1))
    return s.b(h + (q - h).detach())


def _fourier(s: Any, x: Tensor) -> Tensor:
    h = s.a(x)
    modes = torch.fft.rfft(h, dim=1)
    out = torch.zeros_like(modes)
    out[:, :2] = torch.einsum("bkc,kcd->bkd", modes[:, :2], torch.complex(s.v, s.w))
    return s.b(torch.fft.irfft(out, h.shape[1], dim=1) + h)


def _shifted_windows(s: Any, x: Tensor) -> Tensor:
    n, height, width, _ = x.shape
    h = s.a(x)
    rolled = h.roll((-1, -1), (1, 2)).view(n, height // 2, 2, width // 2, 2, h.shape[-1])
    windows = rolled.permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, h.shape[-1])
    mixed = (s.q(windows) @ s.k(windows).transpose(1, 2)).softmax(-1) @ s.v(windows)
    back = s.p(mixed).view(n, height // 2, width // 2, 2, 2, h.shape[-1]).permute(0, 1, 3, 2, 4, 5)
    return s.b(h + back.reshape(h.shape).roll((1, 1), (1, 2)))


def _packed(s: Any, x: Tensor) -> Tensor:
    packed = nn.utils.rnn.pack_padded_sequence(s.a(x), torch.tensor([5, 3]), batch_first=True)
    return s.b(nn.utils.rnn.pad_packed_sequence(s.n(packed)[0], batch_first=True)[0])


def _padded(s: Any, x: Tensor) -> Tensor:
    h = s.a(x)
    return s.b(nn.utils.rnn.pad_sequence([h[0, :3], h[1, :2]], batch_first=True))


NATURAL = [
    Case(
        "graph attention",
        net(_graph_attention, a=lin(4, 6), l=lin(6, 1), r=lin(6, 1), b=lin(6, 3)),
        NODES,
        {"a": "6 a l r b"},
    ),
    Case("graph convolution, sparse", net(_graph_convolution, a=lin(4, 6), b=lin(6, 3)), NODES, {"a": "6 a b"}),
    Case("mean of neighbours", net(_neighbours, a=lin(4, 6), b=lin(12, 3)), NODES, {"a": "6 a b"}),
    Case(
        "mixture of experts",
        net(_experts, a=lin(4, 6), g=lin(4, 3), e=lin(6, 6), f=lin(6, 6), h=lin(6, 6), b=lin(6, 3)),
        ((7, 4),),
        {"a": "6 a e f h b"},
        IO | {"input of g": "input", "g": "compared"},
    ),
    Case(
        "codebook",
        net(_codebook, a=lin(4, 6), v=of(nn.Embedding, 7, 6), b=lin(6, 3)),
        FLAT,
        {"a": "6 a v b"},
    ),
    Case(
        "Fourier layer",
        net(_fourier, a=lin(4, 6), v=vec(2, 6, 6), w=vec(2, 6, 6), b=lin(6, 3)),
        TIME,
        {"a": "6 a v w b"},
    ),
    Case(
        "shifted windows",
        net(_shifted_windows, a=lin(4, 6), q=lin(6, 8), k=lin(6, 8), v=lin(6, 7), p=lin(7, 6), b=lin(6, 3)),
        ((2, 4, 4, 4),),
        {"a": "6 a q k v p b", "q": "8 q k", "v": "7 v p"},
    ),
    Case(
        "packed sequences",
        net(_packed, a=lin(4, 6), n=of(nn.GRU, 6, 5, batch_first=True), b=lin(5, 3)),
        TIME,
        {"a": "6 a n", "n": "5 n b"},
    ),
    Case("padded sequences", net(_padded, a=lin(4, 6), b=lin(6, 3)), TIME, {"a": "6 a b"}),
]
