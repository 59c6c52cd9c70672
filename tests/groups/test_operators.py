"""Operators of a long list keep the channels that they must keep; a cut network computes what a masked one does."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from networks import masked, random_inputs, trained
from operator_calls import CALLS, Call
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from prune_env.groups import Surgeon, discover
from prune_env.groups.tracing.labels import Dim, Dims, Ledger
from prune_env.groups.tracing.operators import moves_only, rule_of
from prune_env.groups.tracing.probing import probe, results_of
from prune_env.groups.tracing.propagation import decomposed


def _ids(call: Call) -> str:
    return call.case.name


@pytest.mark.parametrize("call", [c for c in CALLS if c.channels], ids=_ids)
def test_channels_beside_an_operator_can_be_removed(call: Call) -> None:
    model = trained(call.case)
    grouping = discover(model, call.case.trace, ("a", "b"))
    assert "a" in grouping.names, [(g.name, g.reason) for g in grouping.locked]
    assert grouping["a"].channels == call.channels
    inputs = random_inputs(call.case)
    for left in range(max(1, grouping["a"].least), call.channels):
        keep = torch.ones(int(grouping.widths.sum()), dtype=torch.bool)
        start = int(grouping.widths[: grouping.names.index("a")].sum())
        keep[start + torch.randperm(call.channels, generator=torch.Generator().manual_seed(left))[left:]] = False
        cut, reference = copy.deepcopy(model), masked(model, grouping, keep)
        Surgeon(cut, grouping).cut(keep)
        outputs = [_run(m, inputs) for m in (cut, reference)]
        assert outputs[0].isfinite().all()
        if call.exact:
            torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)


def _run(model: Any, inputs: list[Tensor]) -> Tensor:
    """The output, with noise that does not depend on the width."""
    with torch.no_grad(), _Still():
        return model(*inputs)


class _Still(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if torch.Tag.nondeterministic_seeded in func.tags and isinstance(out, Tensor):
            out.fill_(0.5)
        return out


@pytest.mark.parametrize("call", [c for c in CALLS if not c.channels], ids=_ids)
def test_channels_that_an_operator_mixes_are_locked(call: Call) -> None:
    grouping = discover(trained(call.case), call.case.trace, ("a", "b"))
    assert "a" not in grouping.names
    assert call.reason in grouping["a"].reason


# ---------------------------------------------------------------------- rules against what probing finds
SIZED = {
    *("split", "split_with_sizes", "unsafe_split", "slice", "repeat", "unbind", "select", "view_as_complex"),
    *("full_like", "empty_like", "zeros_like"),
}
"""Operators that take sizes or numbers of positions as arguments, so that they cannot be run on other sizes."""
CONSTANT = {"isnan", "isin", "any", "all"}
"""Operators that return the same for nearly all random numbers."""


class _Alone:
    """What a rule sees of one operator: every tensor has labels of its own."""

    by_caller = False

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.known: dict[int, tuple[Tensor, Dims]] = {}

    def dims(self, tensor: Tensor) -> Dims:
        fresh = tuple(self.ledger.fresh(n) for n in tensor.shape) if id(tensor) not in self.known else ()
        return self.known.setdefault(id(tensor), (tensor, fresh))[1]

    def external(self, tensor: Tensor) -> Dims:
        return tuple(self.ledger.fixed(n, "external") for n in tensor.shape)

    def uniform(self, size: int) -> Dim:
        return self.ledger.fresh(size)

    def is_weight(self, tensor: Tensor) -> bool:
        return False

    def produces(self, *_: Any) -> None: ...

    consumes = sums = produces


class _Caught(TorchDispatchMode):
    """Keeps every operator that has a rule, with copies of its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        copies = tree_map(lambda x: x.detach().clone() if isinstance(x, Tensor) else x, (args, kwargs or {}))
        self.calls.append((func, *copies))
        return func(*args, **(kwargs or {}))


def _claims(func: Any, args: Any, kwargs: Any) -> dict[tuple[int, int], set[tuple[int, int]]]:
    """For each dimension of the outputs that the rule follows, the dimensions of the inputs with the same labels."""
    leaves = tree_flatten((args, kwargs))[0]
    tensors = [x for x in leaves if isinstance(x, Tensor)]
    context = _Alone()
    inputs = [context.dims(t) for t in tensors]
    out = func(*args, **kwargs)
    bound = {x.name: x.default_value for x in func._schema.arguments}
    bound.update(zip(bound, args, strict=False))
    results = results_of(func, bound | kwargs, out)
    dims = rule_of(func)(context, bound | kwargs, out)
    dims = [dims] if isinstance(out, Tensor) else list(dims)
    conclusion = context.ledger.conclude()
    classes, reasons = conclusion.of_label, conclusion.locked

    def followed(dim: Dim) -> tuple[int, ...] | None:
        if len(dim) != 1 or (dim[0] < 0).any():
            return None
        found = classes[dim[0]].tolist()
        return None if len(set(found)) < len(found) or not reasons.keys().isdisjoint(found) else tuple(found)

    return {
        (i, d): {(j, e) for j, x in enumerate(inputs) for e, other in enumerate(x) if followed(other) == labels}
        for i, x in enumerate(dims)
        for d, dim in enumerate(x)
        if results[i].numel() and (labels := followed(dim)) is not None
    }


@pytest.mark.parametrize("call", CALLS, ids=_ids)
def test_rules_claim_what_probing_finds(call: Call) -> None:
    model, caught = trained(call.case), _Caught()
    with decomposed(), torch.no_grad(), caught:
        model(*random_inputs(call.case))
    for func, args, kwargs in caught.calls:
        name = func._schema.name.removeprefix("aten::").removesuffix("_")
        tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        noise = torch.Tag.nondeterministic_seeded in func.tags
        skipped = noise or moves_only(func) or name in SIZED | CONSTANT or name.startswith("native_")
        if not tensors or skipped or rule_of(func) is None:
            continue
        found = probe(func, args, kwargs, [(i, d) for i, t in enumerate(tensors) for d in range(t.dim())])
        by_output = {slot: set(tie.inputs) for tie in found for slot in tie.outputs}
        for slot, inputs in _claims(func, args, kwargs).items():
            assert not inputs or by_output.get(slot) == inputs, f"{func}: {slot} {[tuple(t.shape) for t in tensors]}"
