"""Compare values element by element, each on its own scale.

A logit that is masked with -1e8 must not widen the tolerance of its neighbours, and an infinite one must not switch the
comparison off. So no tolerance is taken from the largest element.
"""

from __future__ import annotations

import torch
from torch import Tensor

_RELATIVE = {True: 1e-7, False: 1e-3}
_ABSOLUTE = {True: 1e-9, False: 1e-5}


def differs(wanted: Tensor, got: Tensor, precise: bool, scale: Tensor | None = None) -> bool:
    """Whether any element is another than it should be.

    Args:
        wanted: The reference.
        got: A tensor of the same shape.
        precise: Whether both were computed in double precision; else single precision is assumed.
        scale: How much each element varies with the network's weights: what differences are measured by, but for
            rounding. By default an element's own size, and for elements near zero that of its neighbours.
    """
    if wanted.shape != got.shape or wanted.dtype != got.dtype:
        return True
    if wanted.layout != torch.strided:
        wanted, got = wanted.to_dense(), got.to_dense()
    if not wanted.numel():
        return False
    if not (wanted.is_floating_point() or wanted.is_complex()):
        return not bool(torch.equal(wanted, got))
    wanted, got = wanted.detach(), got.detach()
    size, distance = wanted.abs(), (wanted - got).abs()
    if scale is None and bool(((distance <= _RELATIVE[precise] * size) & size.isfinite()).all()):
        return False
    finite = distance.isfinite()
    if scale is None:
        tolerance = _RELATIVE[precise] * size + _ABSOLUTE[precise] * max(_small(size[finite]), 1e-3)
    else:
        tolerance = 1e-5 * _RELATIVE[precise] * size + _RELATIVE[precise] * scale + _ABSOLUTE[precise] * _small(scale)
    same = (wanted == got) | (wanted.isnan() & got.isnan())
    return not bool((same | (finite & (distance <= tolerance))).all())


def _small(size: Tensor) -> float:
    """The size of a small, but not accidentally small element: neither a huge mask nor a zero moves it."""
    size = size[size > 0]
    return min(float(size.kthvalue(1 + len(size) // 10)[0]), 1e3) if len(size) else 0.0
