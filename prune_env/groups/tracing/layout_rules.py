"""Rules of operators that move values without computing any: views, slices, concatenations, constants.

The form of a rule is told in `operators`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from prune_env.groups.tracing.labels import POSITION, Dim, Dims, as_dim, size_of

if TYPE_CHECKING:
    from prune_env.groups.tracing.propagation import Propagation

Arguments = dict[str, Any]

_PICKED = "its channels are picked by number"


def axes(dim: Any, rank: int) -> set[int]:
    """Which dimensions an argument names; all of them if it names none."""
    if dim is None or dim == []:
        return set(range(rank))
    return {d % rank for d in (dim if isinstance(dim, (list, tuple)) else [dim])} if rank else set()


def keep(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """Copies, and tensors made after the image of another."""
    return p.dims(a["self"])


def reshape(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """Views of other sizes."""
    return p.ledger.reshape(p.dims(a["self"]), out.shape)


def transpose(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """Two dimensions change places."""
    dims = list(p.dims(a["self"]))
    i, j = a.get("dim0", 0), a.get("dim1", 1)
    if len(dims) > 1:
        dims[i], dims[j] = dims[j], dims[i]
    return tuple(dims)


def permute(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """Dimensions in another order."""
    dims = p.dims(a["self"])
    return tuple(dims[i] for i in a["dims"])


def unsqueeze(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """A new dimension of size 1."""
    dims = p.dims(a["self"])
    at = a["dim"] % out.dim()
    return (*dims[:at], (), *dims[at:])


def squeeze(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """Dimensions of size 1 vanish."""
    shape, dims = a["self"].shape, p.dims(a["self"])
    among = axes(a.get("dim"), len(shape))
    return tuple(d for i, d in enumerate(dims) if not (i in among and shape[i] == 1))


def expand(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """Dimensions of size 1 grow."""
    dims = p.dims(a["self"])
    dims = ((),) * (out.dim() - len(dims)) + dims
    return tuple(d if size_of(d) == n else p.uniform(n) for d, n in zip(dims, out.shape, strict=True))


def select(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """One position of a dimension, by number."""
    dims = p.dims(a["self"])
    at = a["dim"] % len(dims)
    p.ledger.lock([dims[at]], _PICKED)
    return dims[:at] + dims[at + 1 :]


def slice_(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """A range of one dimension."""
    dims = p.dims(a["self"])
    at = a["dim"] % len(dims)
    if out.shape[at] == size_of(dims[at]):
        return dims
    part = as_dim(p.ledger.flat(dims[at])[a["start"] : a["end"] : a["step"]])
    return (*dims[:at], part, *dims[at + 1 :])


def split(p: Propagation, a: Arguments, out: Sequence[Tensor]) -> list[Dims]:
    """One dimension in parts."""
    dims = p.dims(a["self"])
    at = a["dim"] % len(dims)
    if len(out) == 1:
        return [dims]
    parts = np.split(p.ledger.flat(dims[at]), np.cumsum([tensor.shape[at] for tensor in out])[:-1])
    return [(*dims[:at], as_dim(part), *dims[at + 1 :]) for part in parts]


def unbind(p: Propagation, a: Arguments, out: Sequence[Tensor]) -> list[Dims]:
    """All positions of a dimension apart, each by number."""
    return [select(p, a, tensor) for tensor in out]


def cat(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """Concatenation: strung together along one dimension, the same along the others."""
    parts = [p.dims(t) for t in a["tensors"] if t.numel()]
    at = a["dim"] % out.dim()
    result = list(parts[0])
    for dims in parts[1:]:
        result = _join(p, result, dims, at)
    result[at] = p.ledger.concatenate([dims[at] for dims in parts])
    return tuple(result)


def _join(p: Propagation, one: list[Dim], other: Dims, apart_from: int) -> list[Dim]:
    return [x if i == apart_from else p.ledger.same(x, y) for i, (x, y) in enumerate(zip(one, other, strict=True))]


def stack(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """Concatenation along a new dimension."""
    at = a["dim"] % out.dim()
    result = list(p.dims(a["tensors"][0]))
    for tensor in a["tensors"][1:]:
        result = _join(p, result, p.dims(tensor), -1)
    return (*result[:at], p.ledger.fixed(out.shape[at], POSITION), *result[at:])


def repeat(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """The whole tensor several times over."""
    dims = p.dims(a["self"])
    dims = ((),) * (out.dim() - len(dims)) + dims
    return tuple(p.ledger.concatenate([d] * n) if n > 1 else d for d, n in zip(dims, a["repeats"], strict=True))


def index_select(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """Some positions of one dimension, by number."""
    dims = p.dims(a["self"])
    at = a["dim"] % len(dims)
    p.ledger.lock([dims[at]], _PICKED)
    return (*dims[:at], p.ledger.fixed(out.shape[at], _PICKED), *dims[at + 1 :])


def index(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """Advanced indexing: indexed dimensions are replaced by those of the indices, in place if they stand together."""
    dims = p.dims(a["self"])
    at = [i for i, index in enumerate(a["indices"]) if index is not None]
    if any(a["indices"][i].dtype in (torch.bool, torch.uint8) for i in at):
        raise NotImplementedError("a mask of positions")
    p.ledger.lock([dims[i] for i in at], _PICKED)
    start = at[0] if at == list(range(at[0], at[-1] + 1)) else 0
    rest = [d for i, d in enumerate(dims) if i not in at]
    new = out.dim() - len(rest)
    return (*rest[:start], *(p.ledger.fixed(n, _PICKED) for n in out.shape[start : start + new]), *rest[start:])


def constant(p: Propagation, a: Arguments, out: Tensor) -> Dims:
    """A tensor filled evenly inside the network has no channels of its own; one made by the caller is an input."""
    if p.depth.value == 0:
        return p.external(out)
    return tuple(p.uniform(n) for n in out.shape)
