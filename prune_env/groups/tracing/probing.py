"""Find out what an operator without a rule does to positions, by running it on random tensors.

A set of dimensions, one or more of the inputs and one or more of the outputs, belongs together if picking positions of
all those of the inputs (in another order, fewer, or some twice) picks the same positions of those of the outputs, and
changes nothing else. The sizes tell which dimensions of the outputs answer, the values whether they answer rightly.
Where only a change of order passes, as in a normalisation, the positions are treated alike but are computed from each
other. Everything that is not tied in one of these two ways may be mixed.

The operator runs on random tensors of the same shapes, of double precision where it takes them. Kernels may trust their
arguments and read beyond the memory of a tensor if integers or coordinates are arbitrary, so only tensors that hold
channels are drawn, integers and inputs from outside stay as they are, and the kernels that PyTorch calls inside of its
own are not tried. The user's tensors are not touched, nor is any random state of PyTorch.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

Slot = tuple[int, int]
"""(which tensor, which dimension)."""

_TOLERANCE = {torch.float64: 1e-9, torch.complex128: 1e-9, torch.float32: 1e-4, torch.complex64: 1e-4}
_COARSE = 2e-2  # of half precision
_DRAWS: tuple[Callable[[Tensor, torch.Generator], Tensor], ...] = (
    lambda t, g: torch.randn(t.shape, generator=g, dtype=torch.float64),
    lambda t, g: torch.randn(t.shape, generator=g, dtype=torch.float64) * 10,
    lambda t, g: torch.rand(t.shape, generator=g, dtype=torch.float64),
    lambda t, g: _resampled(t, g),
)
_TRUSTING = ("_", "native_", "cudnn_", "mkldnn_", "miopen_")
_FEWEST = 2  # draws that the operator must accept
_MOST_SETS = 64  # sets of inputs' dimensions tried for one size
_KNOWN: dict[Any, tuple[Tie, ...]] = {}
_MOST_KNOWN = 4096


@dataclass(frozen=True)
class Tie:
    """Dimensions of inputs and outputs whose positions correspond.

    Attributes:
        inputs: Dimensions of the tensors among the arguments, in their order.
        outputs: Dimensions of the tensors among the results, in their order.
        coupled: Whether every position is computed from all of them.
    """

    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    coupled: bool


def probe(func: torch._ops.OpOverload, args: Any, kwargs: Any, live: Sequence[Slot]) -> tuple[Tie, ...]:
    """The dimensions that an operator keeps apart; whatever is in no tie may be mixed, also where it cannot be run.

    Args:
        func: The operator.
        args: Its arguments, which are left as they are.
        kwargs: Its arguments by name.
        live: The dimensions to try, of the tensors among the arguments in their order. Tensors that have none keep
            their values.
    """
    leaves, structure = tree_flatten((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    drawn = {i for i, _ in live}
    given = [t for i, t in enumerate(tensors) if i not in drawn]
    if any(t.layout != torch.strided or t.is_quantized or t.is_meta for t in tensors):
        return ()
    if any(not _is_float(t) and t.dtype != torch.bool and len(t.unique()) < 2 for t in given):
        return ()  # equal numbers do not show what others would do
    values = iter(_signature(t, i in drawn) for i, t in enumerate(tensors))
    key = (func, str(structure), tuple(live), *(next(values) if isinstance(x, Tensor) else repr(x) for x in leaves))
    if key not in _KNOWN:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        devices = {t.device for t in tensors if t.device.type == "cuda"}
        with _disable_current_modes(), torch.no_grad(), torch.random.fork_rng(devices):
            try:
                _KNOWN[key] = tuple(_Probe(func, leaves, structure, live).ties())
            except (RuntimeError, NotImplementedError):  # kinds of numbers that cannot be compared or picked
                _KNOWN[key] = ()
    return _KNOWN[key]


def can_be_probed(func: torch._ops.OpOverload) -> bool:
    """Whether an operator checks its arguments; PyTorch's inner ones and gradients trust them."""
    library, _, name = func._schema.name.partition("::")
    return library != "aten" or not (name.startswith(_TRUSTING) or name.endswith("_backward"))


def results_of(func: torch._ops.OpOverload, bound: dict[str, Any], out: Any) -> list[Tensor]:
    """The tensors that an operator returns, and those that it changes without returning them."""
    results = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
    for argument in func._schema.arguments:
        if argument.alias_info is not None and argument.alias_info.is_write:
            changed = [t for t in tree_leaves(bound[argument.name]) if isinstance(t, Tensor)]
            results += [t for t in changed if all(t is not known for known in results)]
    return results


def _signature(t: Tensor, drawn: bool) -> Any:
    form = (tuple(t.shape), t.dtype, str(t.device))
    if drawn and _is_float(t):
        return form
    return (*form, hashlib.sha256(t.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()).digest())


def _is_float(t: Tensor) -> bool:
    return t.is_floating_point() or t.is_complex()


def _resampled(t: Tensor, generator: torch.Generator) -> Tensor:
    """Values of a tensor, in random places."""
    if t.numel() == 0:
        return t.clone()
    return t.flatten()[torch.randint(t.numel(), t.shape, generator=generator).to(t.device)]


class _Probe:
    """One operator with its arguments; letters: n positions of one dimension."""

    def __init__(self, func: torch._ops.OpOverload, leaves: Sequence[Any], structure: Any, live: Sequence[Slot]):
        self._func, self._leaves, self._structure, self._live = func, leaves, structure, live
        self._at = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        self._numbered = not all(_is_float(leaves[i]) or leaves[i].dtype == torch.bool for i in self._at)
        self._random = torch.Generator().manual_seed(0)
        self._draws: list[tuple[list[Tensor], list[Tensor]]] = []
        for double in (True, False):
            self._draws = [pair for draw in _DRAWS if (pair := self._drawn(draw, double))]
            if len(self._draws) >= _FEWEST:
                break

    def _drawn(self, draw: Any, double: bool) -> tuple[list[Tensor], list[Tensor]] | None:
        """Random inputs and what the operator makes of them, if it accepts them."""
        inputs = []
        drawn = {i for i, _ in self._live}
        for number, i in enumerate(self._at):
            t = self._leaves[i].detach()
            if number not in drawn:
                inputs.append(t)
            elif _is_float(t):
                dtype = t.dtype if not double else torch.complex128 if t.is_complex() else torch.float64
                new = draw(t, self._random).to(t.device, dtype)
                if t.is_complex():
                    new = torch.complex(new.real, draw(t.real, self._random).to(new.real))
                inputs.append(new)
            else:
                inputs.append(t if draw is _DRAWS[0] else _resampled(t, self._random))
        outputs = self._run(inputs)
        again = self._run(inputs)
        if outputs is None or again is None or not _all_close(outputs, again):
            return None
        return inputs, outputs

    def _run(self, inputs: Sequence[Tensor]) -> list[Tensor] | None:
        """The results, and the inputs that are changed; None if the operator refuses."""
        leaves = list(self._leaves)
        for i, t in zip(self._at, inputs, strict=True):
            leaves[i] = t.clone()
        args, kwargs = tree_unflatten(leaves, self._structure)
        torch.manual_seed(0)
        try:
            out = self._func(*args, **kwargs)
        except Exception:  # each operator has its own way to refuse
            return None
        names = [argument.name for argument in self._func._schema.arguments]
        return results_of(self._func, dict(zip(names, args, strict=False)) | kwargs, out)

    # ------------------------------------------------------------------ sets of dimensions
    def ties(self) -> Iterator[Tie]:
        """All ties, of single dimensions before those of several."""
        if len(self._draws) < _FEWEST:
            return
        shapes = [t.shape for t in self._draws[0][0]]
        taken: set[Slot] = set()
        by_size: dict[int, list[Slot]] = {}
        for i, d in self._live:
            if shapes[i][d] > 1:
                by_size.setdefault(shapes[i][d], []).append((i, d))
        for n, slots in by_size.items():
            free = list(slots)
            for candidate in itertools.islice(_sets(slots, shapes), len(slots) + _MOST_SETS):
                if set(candidate) <= set(free) and (tie := self._tie(candidate, n)) and taken.isdisjoint(tie.outputs):
                    taken |= set(tie.outputs)
                    free = [slot for slot in free if slot not in candidate]
                    yield tie

    def _tie(self, slots: tuple[Slot, ...], n: int) -> Tie | None:
        outputs = self._answering(slots, n)
        if not outputs:
            return None
        exchange = torch.arange(n)
        exchange[:2] = exchange[:2].flip(0)
        orders = [torch.arange(n).roll(1), exchange]  # all other orders are made of these two
        some = torch.randperm(n, generator=self._random)
        picks = [torch.cat([some, some[:1]])]
        if not self._numbered:  # numbers may point to what is not there any more
            picks.append(some[: n - 1])
        if not all(self._follows(slots, outputs, order) for order in orders) or not self._reacts(outputs, exchange):
            return None
        coupled = not all(self._follows(slots, outputs, pick) for pick in picks)
        if coupled and not all(self._stays_finite(slots, pick) for pick in picks):
            return None
        return Tie(slots, outputs, coupled)

    def _answering(self, slots: tuple[Slot, ...], n: int) -> tuple[Slot, ...]:
        """Dimensions of outputs that grow by one when those of the inputs do; none if anything else changes."""
        inputs, outputs = self._draws[0]
        grown = self._run(_picked(inputs, slots, torch.arange(n + 1).clamp(max=n - 1)))
        if grown is None or [t.dim() for t in grown] != [t.dim() for t in outputs]:
            return ()
        changed = [
            (i, d, before, after)
            for i, (x, y) in enumerate(zip(outputs, grown, strict=True))
            for d, (before, after) in enumerate(zip(x.shape, y.shape, strict=True))
            if before != after
        ]
        if any((before, after) != (n, n + 1) for _, _, before, after in changed):
            return ()
        answered = tuple((i, d) for i, d, _, _ in changed)
        silent = set(range(len(outputs))) - {i for i, _ in answered}
        return () if any(outputs[i].numel() and not self._ignores(i, inputs, slots) for i in silent) else answered

    def _ignores(self, output: int, inputs: list[Tensor], slots: tuple[Slot, ...]) -> bool:
        """Whether an output without a dimension that answers does not depend on these inputs at all."""
        other = list(inputs)
        for i in {i for i, _ in slots}:
            other[i] = self._draws[1][0][i]
        before, after = self._run(inputs), self._run(other)
        return before is not None and after is not None and _all_close([before[output]], [after[output]])

    def _follows(self, slots: tuple[Slot, ...], outputs: tuple[Slot, ...], pick: Tensor) -> bool:
        for inputs, before in self._draws:
            after = self._run(_picked(inputs, slots, pick))
            if after is None or not _all_close(_picked(before, outputs, pick), after):
                return False
        return True

    def _reacts(self, outputs: tuple[Slot, ...], order: Tensor) -> bool:
        """Whether another order shows in the outputs at all."""
        return any(not _all_close(_picked(before, outputs, order), before) for _, before in self._draws)

    def _stays_finite(self, slots: tuple[Slot, ...], pick: Tensor) -> bool:
        inputs, before = self._draws[0]
        after = self._run(_picked(inputs, slots, pick))
        return after is not None and all(
            bool(y.isfinite().all()) or not bool(x.isfinite().all()) for x, y in zip(before, after, strict=True)
        )


def _sets(slots: Sequence[Slot], shapes: Sequence[torch.Size]) -> Iterator[tuple[Slot, ...]]:
    """Sets of dimensions of one size, in the order in which they are tried: small ones first, then aligned ones."""
    yield from ((slot,) for slot in slots)
    pairs = list(itertools.combinations(slots, 2))
    yield from sorted(pairs, key=lambda pair: _misfit(pair, shapes))[: _MOST_SETS // 2]
    yield from sorted(itertools.combinations(slots, 3), key=lambda three: _misfit(three, shapes))[: _MOST_SETS // 4]
    for position in {d - len(shapes[i]) for i, d in slots}:
        aligned = tuple((i, d) for i, d in slots if d - len(shapes[i]) == position)
        if len(aligned) > 3:
            yield aligned


def _misfit(slots: tuple[Slot, ...], shapes: Sequence[torch.Size]) -> int:
    """0 where all dimensions stand at the same place from the last, as in broadcasting, or from the first."""
    from_last = {d - len(shapes[i]) for i, d in slots}
    from_first = {d for _, d in slots}
    return min(len(from_last), len(from_first)) - 1


def _picked(tensors: Sequence[Tensor], slots: tuple[Slot, ...], pick: Tensor) -> list[Tensor]:
    """The same positions of several dimensions."""
    picked = list(tensors)
    for i, d in slots:
        picked[i] = picked[i].index_select(d, pick.to(picked[i].device))
    return picked


def _all_close(before: Sequence[Tensor], after: Sequence[Tensor]) -> bool:
    return len(before) == len(after) and all(_close(x, y) for x, y in zip(before, after, strict=True))


def _close(x: Tensor, y: Tensor) -> bool:
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    if not (x.is_floating_point() or x.is_complex()):
        return bool((x == y).all())
    tolerance = _TOLERANCE.get(x.dtype, _COARSE)
    finite = x.abs()[x.isfinite()]
    size = float(finite.mean()) if finite.numel() else 0.0
    return torch.allclose(x, y, rtol=tolerance, atol=tolerance * size, equal_nan=True)
