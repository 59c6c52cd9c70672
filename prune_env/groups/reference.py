"""What a cut network must compute: the dense network, whose removed channels take part in nothing.

The dense network runs with its own shapes, so every view, split, concatenation and slice of it is the dense one. Where
an operator combines positions of a dimension, those of removed channels are left out: sums and products read zeros
there, and means, norms, softmax and normalisations are computed over the positions that stay. What the dense network
holds at the positions that stay is then what the cut network must hold, whatever the network does with its channels,
and every operator of both is compared, element by element. Then the reference goes on with the values of the cut
network, so that every operator is judged by itself: one mistake does not hide the next, and errors of rounding do not
grow from layer to layer.

Numbers that the network computes from its own width (the scale of attention, a count to divide by) are taken from the
cut network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from prune_env.groups.comparison import differs
from prune_env.groups.tracing.labels import Dims, Factor
from prune_env.groups.tracing.operators import moves_only, rule_of
from prune_env.groups.tracing.probing import results_of
from prune_env.groups.tracing.propagation import IGNORED, Step, name_of
from prune_env.groups.tracing.randomize import RandomInputs

# Operators that combine the positions of a dimension. One that is missing here makes a group fail, never pass wrongly.
_SUMS = {
    *("sum", "nansum", "mm", "bmm", "mv", "dot", "vdot", "addmm", "baddbmm", "addmv", "addbmm", "convolution"),
    *("_sparse_addmm", "_trilinear", "trace"),
}
_STATISTICS = {
    *("mean", "nanmean", "var", "std", "var_mean", "std_mean", "prod", "amax", "amin", "aminmax", "logsumexp", "norm"),
    *("linalg_vector_norm", "any", "all", "count_nonzero", "_euclidean_dist", "_cdist_forward", "cdist"),
    *("_softmax", "_log_softmax", "_safe_softmax", "softmax", "log_softmax", "_weight_norm_interface"),
    *("native_layer_norm", "_fused_rms_norm", "rms_norm", "native_group_norm", "renorm", "dist", "_pdist_forward"),
    *("mse_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss", "binary_cross_entropy"),
    *("binary_cross_entropy_with_logits", "_scaled_dot_product_flash_attention_for_cpu"),
}
_BATCH_STATISTICS = {
    *("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"),
    *("batch_norm", "_batch_norm_with_update", "_batch_norm_no_update"),
}
_COMBINING = _SUMS | _STATISTICS | _BATCH_STATISTICS
_WITH_BIAS_FIRST = {"addmm", "_sparse_addmm", "baddbmm", "addmv", "addbmm"}
_FILLED = {"full", "new_full", "full_like", "fill", "fill_", "scalar_tensor"}
_UNSET = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided"}


@dataclass(frozen=True)
class CutStep:
    """One operator of a cut network: numbers among its arguments that are values, and copies of what it computes."""

    name: str
    moves: bool
    numbers: list[Any]
    outputs: list[Tensor]


@dataclass(frozen=True)
class Mismatch:
    """The cut network computes something else than it should.

    Attributes:
        reason: In words.
        classes: Classes of the channels that are near.
    """

    reason: str
    classes: frozenset[int] = field(default_factory=frozenset)


class _Operators(RandomInputs):
    """Sees the operators that propagation sees, in the same order."""

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run one operator, or those that it consists of."""
        if rule_of(func) is None:
            with self:
                whole = func.decompose(*args, **kwargs)
            if whole is not NotImplemented:
                return whole
        if name_of(func) in IGNORED:
            return self.execute(func, args, kwargs)
        return self.step(func, args, kwargs)

    def step(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run one elementary operator."""
        raise NotImplementedError


class Recorder(_Operators):
    """Keeps what every operator of a cut network returns.

    Attributes:
        steps: The operators so far.
        infinite: Numbers of operators that made values infinite whose inputs were not; filled if `heal` is set, which
            replaces such values by zeros and goes on.
    """

    def __init__(self, heal: bool = False):
        super().__init__()
        self.steps: list[CutStep] = []
        self.infinite: list[int] = []
        self._heal = heal

    def step(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run and record."""
        out = self.execute(func, args, kwargs)
        outs = _results(func, args, kwargs, out)
        if outs:
            if self._heal:
                broken = [t for t in outs if t.is_floating_point() and bool(t.isnan().any())]
                if broken:
                    self.infinite.append(len(self.steps))
                for tensor in broken:
                    tensor.nan_to_num_(0.0, 0.0, 0.0)
            moves, leaves = moves_only(func), tree_leaves((args, kwargs))
            self.steps.append(
                CutStep(
                    name_of(func),
                    moves,
                    [leaves[i] for i in _values(func, leaves)],
                    [t.detach().clone() for t in outs if not moves or t.dim() == 0],
                )
            )
        return out


class Reference(_Operators):
    """Runs the dense network with the removed channels left out, beside the recorded steps of the cut one.

    Args:
        steps: The dense network's operators with their labels.
        of_label: Class of every label, int64 [L].
        left: Which classes stay, bool [N].
        cut: Operators of the cut network.
        precise: Whether both compute in double precision.

    Attributes:
        mismatches: Where the two differ.
        follows: Whether the cut network runs the same operators as the dense one.
    """

    def __init__(
        self, steps: Sequence[Step], of_label: np.ndarray, left: np.ndarray, cut: Sequence[CutStep], precise: bool
    ):
        super().__init__()
        self.mismatches: list[Mismatch] = []
        self._steps, self._of_label, self._left = steps, of_label, left
        self._precise, self._at = precise, 0
        self._cut, self.follows = aligned(steps, cut)
        self._kept: dict[int, np.ndarray | None] = {}

    def step(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run one operator of the dense network on the channels that stay."""
        if self._at >= len(self._steps) or self._steps[self._at].name != name_of(func):
            out = self.execute(func, args, kwargs)
            if _results(func, args, kwargs, out):
                self._note("the dense network runs other operators than before")
                self._at = len(self._steps)
            return out
        step = self._steps[self._at]
        mine = self._cut.get(self._at)
        out = self._compute(func, args, kwargs, step, mine)
        outs = _results(func, args, kwargs, out)
        if not outs:
            return out
        self._at += 1
        if mine is None or step.name.partition(".")[0] in _UNSET:
            return out
        if not step.moves:
            for tensor, dims, got in zip(outs, step.outputs, mine.outputs, strict=True):
                self._compare(step, tensor, dims, got)
        elif mine.outputs and outs[0].dim() == 0:  # a number that the network may have made from its width
            outs[0].copy_(mine.outputs[0])
        return out

    # ------------------------------------------------------------------ computing
    def _compute(self, func: Any, args: Any, kwargs: Any, step: Step, mine: CutStep | None) -> Any:
        name = step.name.partition(".")[0]
        if mine is not None and mine.numbers:
            leaves, spec = tree_flatten((args, kwargs))
            at = _values(func, leaves)
            if len(at) == len(mine.numbers):
                for i, number in zip(at, mine.numbers, strict=True):
                    leaves[i] = number
                args, kwargs = tree_unflatten(leaves, spec)
        if name not in _COMBINING and not step.combines:
            return self.execute(func, args, kwargs)
        kept = [self._indices(dims) for dims in step.inputs]
        if all(index is None for indices in kept for index in indices):
            return self.execute(func, args, kwargs)
        leaves, spec = tree_flatten((args, kwargs))
        at = [i for i, x in enumerate(leaves) if isinstance(x, Tensor)]
        if name in _SUMS:
            pairs = list(zip(at, kept, strict=True))[name in _WITH_BIAS_FIRST :][:2]
            if name != "_trilinear":
                pairs = [min(pairs, key=lambda pair: leaves[pair[0]].numel())]  # zeros in one factor are enough
            for i, indices in pairs:
                leaves[i] = _zeroed(leaves[i], indices)
            args, kwargs = tree_unflatten(leaves, spec)
        elif name not in _BATCH_STATISTICS or any(index is not None for i, index in enumerate(kept[0]) if i != 1):
            return self._over_what_stays(func, leaves, spec, at, kept, step)
        return self.execute(func, args, kwargs)

    def _over_what_stays(
        self, func: Any, leaves: list[Any], spec: Any, at: list[int], kept: list[list[Any]], step: Step
    ) -> Any:
        args, kwargs = tree_unflatten(leaves, spec)
        dense = self.execute(func, args, kwargs)
        for i, indices in zip(at, kept, strict=True):
            leaves[i] = _gathered(leaves[i], indices)
        args, kwargs = tree_unflatten(leaves, spec)
        args = _resized(step.name.partition(".")[0], list(args), leaves[at[0]])
        small = self.execute(func, args, kwargs)
        for tensor, part, dims in zip(tree_leaves(dense), tree_leaves(small), step.outputs, strict=False):
            _scatter(tensor, part, self._indices(dims))
        return dense

    # ------------------------------------------------------------------ comparing
    def _compare(self, step: Step, tensor: Tensor, dims: Dims, got: Tensor) -> None:
        if not tensor.numel() and not got.numel():
            return
        indices = self._indices(dims)
        if tensor.dim() != len(indices):
            return
        wanted = _gathered(tensor, indices)
        if wanted.shape != got.shape:
            self._note("a tensor of the cut network holds other channels than it should", step)
            return
        if differs(wanted, got, self._precise):
            self._note("the cut network computes other values than the dense one on the channels that are left", step)
        if got.layout == torch.strided and not torch.equal(wanted, got):
            _scatter(tensor, got, indices)  # so that errors of rounding do not add up either

    def _note(self, reason: str, step: Step | None = None) -> None:
        every = [*step.inputs, *step.outputs] if step else []
        labels = [factor[factor >= 0] for dims in every for dim in dims for factor in dim]
        classes = np.unique(self._of_label[np.concatenate(labels)]) if labels else np.zeros(0, dtype=np.int64)
        self.mismatches.append(Mismatch(reason, frozenset(classes[~self._left[classes]].tolist())))

    def _indices(self, dims: Dims) -> list[Tensor | None]:
        """For each dimension the positions that stay, or None where all do."""
        result: list[Tensor | None] = []
        for dim in dims:
            masks = [self._mask(factor) for factor in dim]
            if all(mask is None for mask in masks):
                result.append(None)
                continue
            whole = np.ones(1, dtype=bool)
            for factor, mask in zip(dim, masks, strict=True):
                whole = np.outer(whole, np.ones(len(factor), dtype=bool) if mask is None else mask).ravel()
            result.append(torch.from_numpy(np.flatnonzero(whole)))
        return result

    def _mask(self, factor: Factor) -> np.ndarray | None:
        if id(factor) not in self._kept:
            stays = (factor < 0) | self._left[self._of_label[np.maximum(factor, 0)]]
            self._kept[id(factor)] = None if stays.all() else stays
        return self._kept[id(factor)]


def near(steps: Sequence[Step], numbers: Sequence[int], of_label: np.ndarray) -> frozenset[int]:
    """Classes of all channels that some operators read or write."""
    found: set[int] = set()
    for step in (steps[i] for i in numbers if i < len(steps)):
        for dims in (*step.inputs, *step.outputs):
            found.update(c for dim in dims for f in dim for c in np.unique(of_label[f[f >= 0]]).tolist())
    return frozenset(found)


# ---------------------------------------------------------------------- operators
def _results(func: Any, args: Any, kwargs: Any, out: Any) -> list[Tensor]:
    """The tensors that an operator returns or changes, in the order in which propagation notes them."""
    if isinstance(out, Tensor) and not func._schema.is_mutable:
        return [out]
    bound = {x.name: x.default_value for x in func._schema.arguments}
    bound.update(zip(bound, args, strict=False))
    return results_of(func, bound | kwargs, out)


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float, complex)) and not isinstance(x, bool)


def _values(func: Any, leaves: Sequence[Any]) -> list[int]:
    """Which of an operator's arguments are numbers that stand for values, not for sizes or dimensions."""
    name = func._schema.name.removeprefix("aten::")
    if torch.Tag.pointwise not in func.tags and name not in _FILLED:
        return []
    at = [i for i, x in enumerate(leaves) if _is_number(x)]
    return at[-1:] if name in {"full", "new_full"} else at  # sizes come first


def _resized(name: str, args: list[Any], tensor: Tensor) -> list[Any]:
    """Arguments that repeat the size of the input, for a smaller input."""
    if name in {"native_layer_norm", "_fused_rms_norm", "rms_norm"}:
        args[1] = list(tensor.shape[tensor.dim() - len(args[1]) :])
    elif name == "native_group_norm":
        args[3], args[4], args[5] = tensor.shape[0], tensor.shape[1], tensor[0, 0].numel()
    return args


def _gathered(tensor: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    for dim, index in enumerate(indices):
        if index is not None:
            tensor = tensor.index_select(dim, index.to(tensor.device))
    return tensor


@torch.no_grad()
def _zeroed(tensor: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    if all(index is None for index in indices):
        return tensor
    result = tensor.detach().clone()
    for dim, index in enumerate(indices):
        if index is not None:
            gone = torch.ones(tensor.shape[dim], dtype=torch.bool, device=tensor.device)
            gone[index.to(tensor.device)] = False
            result.index_fill_(dim, gone.nonzero().flatten(), 0)
    return result


@torch.no_grad()
def _scatter(tensor: Tensor, part: Tensor, indices: Sequence[Tensor | None]) -> None:
    """Write `part` to the positions that stay."""
    if tensor.dim() == 0 or all(index is None for index in indices):
        tensor.copy_(part)
        return
    grid = [
        torch.arange(n, device=tensor.device) if index is None else index.to(tensor.device)
        for n, index in zip(tensor.shape, indices, strict=True)
    ]
    tensor[tuple(g.view(-1, *[1] * (tensor.dim() - 1 - i)) for i, g in enumerate(grid))] = part


def aligned(steps: Sequence[Step], cut: Sequence[CutStep]) -> tuple[dict[int, CutStep], bool]:
    """The cut network's operator for every one of the dense network, as far as can be told, and whether it all fits.

    Operators that only move values may be more or fewer when a size changes, and PyTorch computes some products in
    another way when a dimension has but one position.
    """
    if [s.name for s in steps] == [c.name for c in cut]:
        return dict(enumerate(cut)), True
    numbers = [i for i, s in enumerate(steps) if not s.moves]
    names, left = [steps[i].name for i in numbers], [c for c in cut if not c.moves]
    if names == [c.name for c in left]:
        return dict(zip(numbers, left, strict=True)), True
    blocks = SequenceMatcher(None, names, [c.name for c in left], autojunk=False).get_matching_blocks()
    return {numbers[b.a + i]: left[b.b + i] for b in blocks for i in range(b.size)}, False
