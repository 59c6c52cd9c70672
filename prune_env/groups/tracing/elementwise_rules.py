"""Rules of operators that work position for position: activations, arithmetic, noise, losses.

The form of a rule is described in `rule_context`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from prune_env.groups.tracing.labels import Dims
from prune_env.groups.tracing.layout_rules import constant
from prune_env.groups.tracing.rule_context import Arguments, RuleContext, broadcast, tensors_in


def pointwise(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """All tensors broadcast together: dimension for dimension, from the last, positions are the same."""
    tensors = tensors_in(a)
    return broadcast(p, tensors) if tensors else constant(p, a, out)


def pointwise_several(p: RuleContext, a: Arguments, out: Sequence[Tensor]) -> list[Dims]:
    """Several outputs, each of them position for position; those that PyTorch leaves empty have no positions."""
    dims = broadcast(p, tensors_in(a))
    return [dims if t.numel() else ((),) * t.dim() for t in out]


def softmax(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Every position of the output belongs to that of the input; all are treated alike."""
    return p.dims(a["self"])


def glu(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """The second half of a dimension is the gate of the first."""
    dims = p.dims(a["self"])
    at = a["dim"] % len(dims)
    half = p.ledger.tie(p.ledger.flat(dims[at]), 2)[0][: out.shape[at]]
    return (*dims[:at], (half,), *dims[at + 1 :])


def loss(p: RuleContext, a: Arguments, out: Tensor) -> Dims:
    """Losses that compare two tensors position for position, and sum or average over all unless told otherwise."""
    dims = broadcast(p, tensors_in(a))
    if a["reduction"] == 0:
        return dims
    p.sums(dims)
    return ()
