"""Follow every channel of a network through one trace of it, operator by operator.

The trace runs for real; a dispatch mode sees each operator below autograd, so that `no_grad`, `detach`, views, modules
used twice, tied and bare parameters and functional calls need no special treatment. The labels of every operator are
kept: from them `reference` knows what a cut network must compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from prune_env.groups.tracing.depth import Depth, counted_depth
from prune_env.groups.tracing.labels import Dim, Dims, Ledger, size_of
from prune_env.groups.tracing.operators import moves_only, rule_of
from prune_env.groups.tracing.probing import can_be_probed, probe, results_of
from prune_env.groups.tracing.stored import all_plain_tensors, constants, overlapping, place_of

Trace = Callable[[nn.Module], Any]

EXTERNAL = "it is tied to an external input of the network"
OUTPUT = "it is an output of the network"
PLAIN = (
    "it is tied to {}, a tensor that is neither a parameter nor a buffer nor a constant attribute of a module: "
    "register it as a buffer"
)
OVERLAPS = "a tensor of it shares a part of its memory with another one"

IGNORED = {"detach."}
"""Operators that are no step: PyTorch puts one in where somebody else still holds the tensor."""


@dataclass(frozen=True)
class Step:
    """One operator of a trace.

    Attributes:
        name: Its name and overload, as in "add.Tensor".
        moves: Whether it only moves values.
        combines: Whether probing has found that it computes something from all positions of a dimension.
        inputs: Labels of the tensors among its arguments.
        outputs: Labels of the tensors that it returns or changes.
    """

    name: str
    moves: bool
    combines: bool
    inputs: list[Dims]
    outputs: list[Dims]


class Propagation(TorchDispatchMode):
    """Labels of every tensor that a trace meets.

    Args:
        model: The network.
        depth: Tells what the caller does from what the network does.
    """

    def __init__(self, model: nn.Module, depth: Depth):
        super().__init__()
        self.ledger = Ledger()
        self.depth = depth
        self.steps: list[Step] = []
        self.order: dict[str, int] = {}
        """When each tensor of the model was first used."""
        self.produced: list[np.ndarray] = []
        self.consumed: list[np.ndarray] = []
        self.summed: list[np.ndarray] = []
        """Labels along which a layer makes channels, sums over its weight, sums over anything."""
        self._combines = False
        self._dims: dict[int, Dims] = {}
        self._alive: list[Tensor] = []
        self._weights: set[int] = set()
        self._names: dict[int, str] = {}
        self._plain = {id(holder[key]): name for name, holder, key in all_plain_tensors(model)}
        self.constants = {name for name, _, _ in constants(model)}
        """Tensors that are neither parameters nor buffers."""
        self.seeds: dict[str, Dims] = {}
        for name, tensor in named_tensors(model):
            dims = self.seeds[name] = tuple(self.ledger.fresh(n) for n in tensor.shape)
            self._names[id(tensor)] = name
            self._set(tensor, dims, weight=isinstance(tensor, nn.Parameter))

    # ------------------------------------------------------------------ what rules use
    def dims(self, tensor: Tensor) -> Dims:
        """Labels of a tensor."""
        known = self._dims.get(id(tensor))
        if known is None:
            known = self.external(tensor)
            self._set(tensor, known)
        elif id(tensor) in self._names:
            self.order.setdefault(self._names[id(tensor)], len(self.order))
        return known

    @property
    def by_caller(self) -> bool:
        """Whether the operator runs outside of the network, in the code that calls it."""
        return not self.depth.inside

    def external(self, tensor: Tensor) -> Dims:
        """Labels of a tensor that comes from outside."""
        why = PLAIN.format(self._plain[id(tensor)]) if id(tensor) in self._plain else EXTERNAL
        return tuple(self.ledger.fixed(n, why) for n in tensor.shape)

    def uniform(self, size: int) -> Dim:
        """A dimension of equal values: it may become whatever it meets."""
        return self.ledger.uniform(size)

    def is_weight(self, tensor: Tensor) -> bool:
        """Whether a tensor is a parameter or computed from parameters alone."""
        return id(tensor) in self._weights

    def produces(self, tensor: Tensor, dims: Sequence[Dim]) -> None:
        """A layer makes channels along these dimensions of its weight."""
        if self.is_weight(tensor):
            self.produced += [factor for dim in dims for factor in dim]

    def consumes(self, tensor: Tensor, dims: Sequence[Dim]) -> None:
        """A layer sums over these dimensions of its weight."""
        if self.is_weight(tensor):
            self.consumed += [factor for dim in dims for factor in dim]

    def sums(self, dims: Sequence[Dim]) -> None:
        """Something is computed from all positions of these dimensions, so their channels are of use to somebody."""
        self.summed += [factor for dim in dims for factor in dim]

    # ------------------------------------------------------------------ running
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():  # or double precision would convert here what the proofs see converted
            return self._follow(func, args, kwargs)

    def _follow(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run one operator and label what it returns."""
        if rule_of(func) is None:
            with self:  # in inference mode, operators arrive whole that consist of others
                whole = func.decompose(*args, **(kwargs or {}))
            if whole is not NotImplemented:
                return whole
        inputs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        before = [self.dims(t) for t in inputs]  # it may change their shapes
        out = func(*args, **(kwargs or {}))
        bound = {x.name: x.default_value for x in func._schema.arguments}
        bound.update(zip(bound, args, strict=False))
        bound.update(kwargs or {})
        outs = results_of(func, bound, out)
        if not outs:
            return out
        self._combines = False
        dims = self._ruled(func, bound, out, outs)
        if dims is None:
            dims = self._probed(func, args, kwargs, inputs, outs) if inputs else [self.external(t) for t in outs]
        weight = bool(inputs) and all(self.is_weight(t) or t.dim() == 0 for t in inputs)
        for tensor, d in zip(outs, dims, strict=True):
            self._set(tensor, d, weight)
        if (name := name_of(func)) not in IGNORED:
            self.steps.append(Step(name, moves_only(func), self._combines, before, list(dims)))
        return out

    def _ruled(self, func: Any, bound: dict[str, Any], out: Any, outs: list[Tensor]) -> list[Dims] | None:
        """What the operator's rule says; None if it has none, or if the rule does not cover these arguments."""
        rule = rule_of(func)
        if rule is None:
            return None
        try:
            dims = rule(self, bound, out)
            dims = [dims] if isinstance(out, Tensor) else list(dims)
            dims += [self.dims(t) for t in outs[len(dims) :]]  # changed in place, and not returned
            if all(_fits(d, t) for d, t in zip(dims, outs, strict=True)):
                return dims
            why = f"it passes {func._schema.name} with unexpected sizes"
        except NotImplementedError:
            return None
        except Exception as error:
            why = f"it passes {func._schema.name}, where it cannot be followed ({type(error).__name__}: {error})"
        return self._mixed([t for t in tree_leaves(list(bound.values())) if isinstance(t, Tensor)], outs, why)

    def _probed(self, func: Any, args: Any, kwargs: Any, inputs: list[Tensor], outs: list[Tensor]) -> list[Dims]:
        """What probing finds: dimensions that are kept apart are followed, all others locked."""
        why = f"it passes {func._schema.name}, which has no rule and may mix its positions"
        before = [self.dims(t) for t in inputs]
        after = [[self.ledger.fixed(n, why) for n in t.shape] for t in outs]
        live = [
            (i, d)
            for i, (t, dims) in enumerate(zip(inputs, before, strict=True))
            for d, dim in enumerate(dims)
            if any((factor >= 0).any() for factor in dim) and (t.is_floating_point() or t.is_complex())
        ]
        ties = probe(func, args, kwargs or {}, live) if live and can_be_probed(func) else ()
        for tie in ties:
            dim = reduce(self.ledger.same, (before[i][d] for i, d in tie.inputs))
            if tie.coupled:
                self._combines = True
                self.sums([dim])
            for i, d in tie.outputs:
                after[i][d] = dim
        followed = {slot for tie in ties for slot in tie.inputs}
        self.ledger.lock((d for i, x in enumerate(before) for j, d in enumerate(x) if (i, j) not in followed), why)
        return [tuple(dims) for dims in after]

    def _mixed(self, inputs: list[Tensor], outs: list[Tensor], why: str) -> list[Dims]:
        """Nothing can be followed."""
        for tensor in inputs:
            self.ledger.lock(self.dims(tensor), why)
        return [tuple(self.ledger.fixed(n, why) for n in t.shape) for t in outs]

    def _set(self, tensor: Tensor, dims: Dims, weight: bool = False) -> None:
        if id(tensor) not in self._dims:
            self._alive.append(tensor)  # an id is only unique among living objects
        self._dims[id(tensor)] = dims
        if weight:
            self._weights.add(id(tensor))


@contextmanager
def following(model: nn.Module) -> Iterator[Propagation]:
    """Follow whatever is run while the context lasts."""
    with counted_depth(model) as depth, decomposed(), Propagation(model, depth) as propagation:
        yield propagation


def propagate(model: nn.Module, trace: Trace) -> tuple[Propagation, list[Tensor]]:
    """Trace the model and return what was learnt, and the tensors that `trace` returned, which are locked.

    Raises:
        TypeError: If `trace` returns something else than tensors, whose channels nobody would protect.
    """
    with following(model) as propagation:
        outputs = tensors_of(trace(model))
    _follow_memory(model, propagation)
    for tensor in outputs:
        propagation.ledger.lock(propagation.dims(tensor), OUTPUT)
    return propagation, outputs


def _follow_memory(model: nn.Module, propagation: Propagation) -> None:
    """Tensors in the same memory are cut together; those that share a part of it are not cut."""
    seeds = propagation.seeds
    for name in overlapping(named_tensors(model)) & seeds.keys():
        propagation.ledger.lock(seeds[name], OVERLAPS)
    known: dict[Any, str] = {}
    for name, tensor in named_tensors(model):
        if name in seeds and (place := place_of(tensor)) is not None:
            for one, other in zip(seeds[known.setdefault(place, name)], seeds[name], strict=True):
                propagation.ledger.same(one, other)


def tensors_of(outputs: Any) -> list[Tensor]:
    """The tensors in what a trace has returned.

    Raises:
        TypeError: If there are none, or something else that may hide some.
    """
    leaves = tree_leaves(outputs)
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    strangers = {type(x).__name__ for x in leaves if x is not None and not isinstance(x, (Tensor, int, float, str))}
    if strangers or not tensors:
        raise TypeError(
            "trace must return every output as tensors in tuples, lists or dicts; "
            f"it returned {', '.join(sorted(strangers)) or 'no tensor'}"
        )
    return tensors


def name_of(func: Any) -> str:
    """Name and overload of an operator."""
    return f"{func._schema.name.removeprefix('aten::')}.{func._schema.overload_name}"


def _fits(dims: Dims, tensor: Tensor) -> bool:
    return tensor.numel() == 0 or [size_of(dim) for dim in dims] == list(tensor.shape)


def named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters, buffers and constants among the attributes, by qualified name, each object once."""
    yield from module.named_parameters()
    yield from module.named_buffers()
    yield from ((name, holder[key]) for name, holder, key in constants(module))


@contextmanager
def decomposed() -> Iterator[None]:
    """Run attention and recurrent layers as the elementary operators that they consist of."""
    enabled, fused = torch._C._get_mkldnn_enabled(), torch.backends.mha.get_fastpath_enabled()
    torch._C._set_mkldnn_enabled(False)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch._C._set_mkldnn_enabled(enabled)
        torch.backends.mha.set_fastpath_enabled(fused)
