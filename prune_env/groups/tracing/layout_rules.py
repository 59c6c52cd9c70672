"""Rules of operators that move values without computing any: views, slices, concatenations, constants.

The form of a rule is described in `rule_context`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from prune_env.groups.tracing.labels import POSITION, Dim, Dims, as_dim, size_of
from prune_env.groups.tracing.rule_context import PICKED, Arguments, RuleContext, axes, locked_along

_ROLLED = "its positions are rolled around"
_PARTS = "it holds the real and the imaginary part"


def keep(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Copies, and tensors made after the image of another."""
    return p.dims(a["self"])


def reshape(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Views of other sizes."""
    return p.ledger.reshape(p.dims(a["self"]), out.shape)


def transpose(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Two dimensions change places."""
    dims = list(p.dims(a["self"]))
    i, j = a.get("dim0", 0), a.get("dim1", 1)
    if len(dims) > 1:
        dims[i], dims[j] = dims[j], dims[i]
    return tuple(dims)


def permute(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Dimensions in another order."""
    dims = p.dims(a["self"])
    return tuple(dims[i] for i in a["dims"])


def unsqueeze(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """A new dimension of size 1."""
    dims = p.dims(a["self"])
    at = a["dim"] % out.dim()
    return (*dims[:at], (), *dims[at:])


def squeeze(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Dimensions of size 1 vanish."""
    dims = p.dims(a["self"])
    among = axes(a.get("dim"), len(dims))
    return tuple(d for i, d in enumerate(dims) if not (i in among and not d))


def expand(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Dimensions of size 1 grow."""
    dims = p.dims(a["self"])
    dims = ((),) * (out.dim() - len(dims)) + dims
    return tuple(d if size_of(d) == n else p.uniform(n) for d, n in zip(dims, out.shape, strict=True))


def select(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """One position of a dimension, by number."""
    dims = p.dims(a["self"])
    at = a["dim"] % len(dims)
    p.ledger.lock([dims[at]], PICKED)
    return dims[:at] + dims[at + 1 :]


def slice_(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """A range of one dimension."""
    dims = p.dims(a["self"])
    at = a["dim"] % len(dims)
    if out.shape[at] == size_of(dims[at]):
        return dims
    part = as_dim(p.ledger.flat(dims[at])[a["start"] : a["end"] : a["step"]])
    return (*dims[:at], part, *dims[at + 1 :])


def split(p: RuleContext, a: Arguments, out: Sequence[Tensor]) -> list[Dims]:
    """One dimension in parts."""
    dims = p.dims(a["self"])
    at = a["dim"] % len(dims)
    if len(out) == 1:
        return [dims]
    parts = p.ledger.parts(dims[at], [tensor.shape[at] for tensor in out])
    return [(*dims[:at], part, *dims[at + 1 :]) for part in parts]


def unbind(p: RuleContext, a: Arguments, out: Sequence[Tensor]) -> list[Dims]:
    """All positions of a dimension apart, each by number."""
    return [select(p, a, tensor) for tensor in out]


def cat(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Concatenation: strung together along one dimension, the same along the others."""
    parts = [p.dims(t) for t in a["tensors"] if t.numel()]
    at = a["dim"] % out.dim()
    result = list(parts[0])
    for dims in parts[1:]:
        result = _join(p, result, dims, at)
    result[at] = p.ledger.concatenate([dims[at] for dims in parts])
    return tuple(result)


def _join(p: RuleContext, one: list[Dim], other: Dims, apart_from: int) -> list[Dim]:
    return [x if i == apart_from else p.ledger.same(x, y) for i, (x, y) in enumerate(zip(one, other, strict=True))]


def stack(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Concatenation along a new dimension."""
    at = a["dim"] % out.dim()
    result = list(p.dims(a["tensors"][0]))
    for tensor in a["tensors"][1:]:
        result = _join(p, result, p.dims(tensor), -1)
    return (*result[:at], p.ledger.fixed(out.shape[at], POSITION), *result[at:])


def repeat(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """The whole tensor several times over."""
    dims = p.dims(a["self"])
    dims = ((),) * (out.dim() - len(dims)) + dims
    return tuple(p.ledger.concatenate([d] * n) if n > 1 else d for d, n in zip(dims, a["repeats"], strict=True))


def constant(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """A tensor filled evenly inside the network has no channels of its own; one made by the caller is an input."""
    if p.by_caller:
        return p.external(out)
    return tuple(p.uniform(n) for n in out.shape)


# ---------------------------------------------------------------- order of positions
def flip(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Some dimensions in reverse; reversing a product reverses each factor."""
    return _reversed(p.dims(a["self"]), set(a["dims"]))


def rot90(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Quarter turns: a reversal of one or both dimensions, and an exchange of them for odd numbers."""
    dims, turns, (i, j) = p.dims(a["self"]), a["k"] % 4, a["dims"]
    turned = list(_reversed(dims, {0: set(), 1: {j}, 2: {i, j}, 3: {i}}[turns]))
    if turns % 2:
        turned[i], turned[j] = turned[j], turned[i]
    return tuple(turned)


def _reversed(dims: Dims, at: set[int]) -> Dims:
    at = {i % len(dims) for i in at}
    return tuple(tuple(factor[::-1].copy() for factor in d) if i in at else d for i, d in enumerate(dims))


def roll(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Positions move on by a fixed number and come back at the start."""
    return locked_along(p, p.dims(a["self"]), axes(a["dims"], out.dim()), out, _ROLLED)


def triangle(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Lower or upper triangles of the last two dimensions."""
    return locked_along(p, p.dims(a["self"]), {out.dim() - 2, out.dim() - 1}, out, POSITION)


def diagonal(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """The main diagonal of two equal dimensions, which becomes the last one; other diagonals have an order."""
    dims = p.dims(a["self"])
    i, j = a["dim1"] % len(dims), a["dim2"] % len(dims)
    rest = tuple(d for at, d in enumerate(dims) if at not in (i, j))
    if a["offset"] == 0 and size_of(dims[i]) == size_of(dims[j]):
        return (*rest, p.ledger.same(dims[i], dims[j]))
    p.ledger.lock([dims[i], dims[j]], POSITION)
    return (*rest, p.ledger.fixed(out.shape[-1], POSITION))


def diag_embed(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """The last dimension becomes the diagonal of two new ones."""
    dims = p.dims(a["self"])
    i, j = a["dim1"] % out.dim(), a["dim2"] % out.dim()
    if a["offset"]:
        p.ledger.lock([dims[-1]], POSITION)
    rest = iter(dims[:-1])
    new = p.ledger.fixed(out.shape[i], POSITION) if a["offset"] else dims[-1]
    return tuple(new if at in (i, j) else next(rest) for at in range(out.dim()))


def unfold(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Windows along one dimension; the positions within a window become the last dimension."""
    dims = p.dims(a["self"])
    windows = locked_along(p, dims, {a["dimension"] % len(dims)}, out[..., 0], POSITION)
    return (*windows, p.ledger.fixed(out.shape[-1], POSITION))


# ---------------------------------------------------------------- complex numbers
def view_as_real(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Real and imaginary part along a new last dimension."""
    return (*p.dims(a["self"]), p.ledger.fixed(2, _PARTS))


def view_as_complex(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """The last dimension holds real and imaginary part."""
    *dims, parts = p.dims(a["self"])
    p.ledger.lock([parts], _PARTS)
    return tuple(dims)


def as_strided(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """A view by strides; only one that is the tensor itself can be followed."""
    x, offset = a["self"], a["storage_offset"]
    if x.shape == out.shape and x.stride() == out.stride() and offset in (None, x.storage_offset()):
        return p.dims(x)
    raise NotImplementedError("a view by strides")
