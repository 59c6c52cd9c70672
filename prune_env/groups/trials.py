"""What is done to groups to prove them: their channels are permuted, and cut, both on a randomised copy.

Letters: C channels of one group, n positions of one dimension.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from prune_env.groups.comparison import differs
from prune_env.groups.reference import CutStep, Recorder, Reference, aligned, near
from prune_env.groups.subject import Subject, reordered
from prune_env.groups.surgery import Surgeon
from prune_env.groups.types import Group, Grouping

Width = Literal["random", "half", "least", "most"]
Keep = dict[str, np.ndarray]
"""Which channels of every group stay, bool [C] by name."""

_SAFETY = 100.0
"""How many times a measured error of rounding another one may be."""
_PERMUTED = "permuting its channels in all its members changes the output, so a member must be missing"


class InfiniteError(Exception):
    """A cut network computes values that are not finite."""


class Permutation:
    """Permute channels in all members, and see whether an output changes."""

    def __init__(self, subject: Subject):
        self._subject = subject

    def __call__(self, names: Collection[str], seed: int = 0) -> str | None:
        """Why these groups cannot be permuted, or None."""
        try:
            with self._subject.permuted(orders_of(self._subject, names, seed)):
                after = self._subject.run()
        except Exception as error:
            return f"it fails under permuted channels with {type(error).__name__}: {_first_line(error)}"
        return None if self._subject.same_outputs(self._subject.outputs, after) else _PERMUTED


class DryCut:
    """Cut channels, and compare all that is computed with what the dense network says.

    Attributes:
        least: The least width of every group at which values stay finite, by name.
        suspects: Names of the groups that the last failure may be about.
    """

    def __init__(self, subject: Subject):
        self._subject = subject
        self._surgeon = Surgeon(subject.run.model, Grouping(tuple(subject.groups)))
        self._dense = self._surgeon.snapshot()
        gradients = subject.gradients(subject.run())
        self._infinite = {name for name, g in gradients.items() if not bool(g.isfinite().all())}
        self.least = {g.name: 1 for g in subject.groups}
        self.suspects: set[str] = set()
        self._kept: dict[str, int] = {}

    def __call__(self, widths: Mapping[str, Width], seed: int = 0, thorough: bool = True) -> str | None:
        """Cut the groups in `widths`.

        Args:
            widths: How far each group is cut, by name; the others are left whole.
            seed: Chooses the channels that stay.
            thorough: Compare gradients too, and a cut after a permutation with one before.

        Returns:
            Why it goes wrong, or None.

        Raises:
            InfiniteError: If values stop being finite; `suspects` holds the groups where that begins.
        """
        self.suspects = set()
        keep = {
            g.name: self._keep(g, widths.get(g.name), seed, i, thorough) for i, g in enumerate(self._subject.groups)
        }
        self._kept = {name: int(mask.sum()) for name, mask in keep.items() if not mask.all()}
        try:
            return self._try(keep, seed, thorough)
        except InfiniteError:
            self._suspect(self._where_infinite(keep), keep)
            raise
        except Exception as error:
            return f"a dry cut fails with {type(error).__name__}: {_first_line(error)}"

    def widen(self, names: Collection[str]) -> list[str]:
        """Raise the least width of the narrowest of some groups above that of the last cut.

        Returns:
            Those that can lose no channel then.
        """
        narrowest = min(self._kept[name] for name in names)
        for name in names:
            if self._kept[name] == narrowest:
                self.least[name] = narrowest + 1
        return [g.name for g in self._subject.groups if g.name in names and self.least[g.name] >= g.channels]

    # ------------------------------------------------------------------ one trial
    def _keep(self, group: Group, width: Width | None, seed: int, number: int, thorough: bool) -> np.ndarray:
        """Which channels stay, bool [C]."""
        keep = np.ones(group.channels, dtype=bool)
        least = min(self.least[group.name], group.channels)
        if width is not None and least < group.channels:
            random = np.random.default_rng([seed, number])
            half = max(least, group.channels // 2)
            order = (
                np.random.default_rng(number).permutation(group.channels)
                if thorough
                else random.permutation(group.channels)
            )
            stay = order[:half]
            if width == "least":
                stay = random.permutation(group.channels)[:least]
            elif width == "most":
                stay = order[1:]
            elif width == "random":  # in thorough trials every channel goes once, here or with the other half
                most = max(least, group.channels - half) if thorough else group.channels - 1
                stay = order[group.channels - int(random.integers(least, most + 1)) :]
            keep[:] = False
            keep[stay] = True
        return keep

    def _try(self, keep: Keep, seed: int, thorough: bool) -> str | None:
        subject = self._subject
        outputs, gradients, steps = self._cut(keep, thorough)
        if reason := self._against_reference(keep, outputs, steps):
            return f"a dry cut went wrong: {reason}"
        if not thorough:
            return None
        with subject.masked(keep):
            masked = subject.run()
            wanted = subject.gradients(masked) if subject.same_outputs(masked, outputs) else {}
        gone = self._gone(keep)
        rounding = _Rounding(subject, keep)
        for name in sorted(wanted.keys() & gradients.keys()):
            left = _left(wanted[name], name, gone)
            if differs(left, gradients[name], subject.precise) and not rounding.explains(left, gradients[name], name):
                return f"a dry cut went wrong: the gradient of {name} is not that of the masked network"
        return self._against_permuted(keep, outputs, gradients, seed, rounding)

    def _cut(self, keep: Keep, thorough: bool) -> tuple[list[Tensor], dict[str, Tensor], list[CutStep]]:
        """Outputs, gradients and operators of the network after a cut, which is undone."""
        recorder = Recorder()
        try:
            self._surgeon.cut(self._mask(keep))
            outputs = self._subject.run(recorder)
            gradients = self._subject.gradients(outputs) if thorough else {}
        except Exception:
            at = len(recorder.steps)
            self._suspect(near(self._subject.steps, range(at, at + 2), self._subject.of_label), keep)
            raise
        finally:
            self._surgeon.restore(self._dense)
        for before, after in zip(self._subject.outputs, outputs, strict=False):
            if before.shape == after.shape and bool((before.isfinite() & ~after.isfinite()).any()):
                raise InfiniteError("its outputs are not finite")
        if any(not bool(g.isfinite().all()) for name, g in gradients.items() if name not in self._infinite):
            raise InfiniteError("its gradients are not finite")
        return [t.detach() for t in outputs], gradients, recorder.steps

    def _against_reference(self, keep: Keep, outputs: list[Tensor], steps: list[CutStep]) -> str | None:
        subject = self._subject
        left = np.ones(int(subject.of_label.max(initial=-1)) + 1, dtype=bool)
        for group in subject.groups:
            left[subject.classes[group.name][~keep[group.name]]] = False
        reference = Reference(subject.steps, subject.of_label, left, steps, subject.precise)
        wanted = subject.run(reference)
        if not reference.follows and all(mask.sum() > 1 for mask in keep.values() if not mask.all()):
            return "the cut network runs other operators than the dense one"
        if reference.mismatches:
            for mismatch in reference.mismatches:
                self._suspect(mismatch.classes, keep)
            return reference.mismatches[0].reason
        if [t.shape for t in wanted] != [t.shape for t in outputs]:
            return "an output has another shape"
        return None if subject.same_outputs(wanted, outputs) else "its outputs are not those of the masked network"

    def _against_permuted(
        self, keep: Keep, outputs: list[Tensor], gradients: dict[str, Tensor], seed: int, rounding: _Rounding
    ) -> str | None:
        """A cut after a permutation must leave the same network as before, its channels in another order."""
        subject = self._subject
        orders = orders_of(subject, {name for name, mask in keep.items() if not mask.all()}, seed)
        moved = {name: mask[orders[name]] if name in orders else mask for name, mask in keep.items()}
        with subject.permuted(orders):
            after, other, _ = self._cut(moved, thorough=True)
        if not subject.same_outputs(outputs, after):
            return "a dry cut went wrong: it depends on the order of the channels"
        where = self._order_of_what_stays(orders, keep, moved)
        for name in sorted(gradients.keys() & other.keys()):
            wanted = gradients[name]
            for (tensor, dim), index in where.items():
                wanted = wanted.index_select(dim, index.to(wanted.device)) if tensor == name else wanted
            if differs(wanted, other[name], subject.precise) and not rounding.explains(wanted, other[name], name):
                return f"a dry cut went wrong: the gradient of {name} depends on the order of the channels"
        return None

    def _where_infinite(self, keep: Keep) -> frozenset[int]:
        recorder = Recorder(heal=True)
        try:
            self._surgeon.cut(self._mask(keep))
            self._subject.run(recorder)
        except Exception:
            return frozenset()
        finally:
            self._surgeon.restore(self._dense)
        dense, _ = aligned(self._subject.steps, recorder.steps)
        infinite = {id(recorder.steps[i]) for i in recorder.infinite if i < len(recorder.steps)}
        numbers = [i for i, step in dense.items() if id(step) in infinite]
        return near(self._subject.steps, numbers, self._subject.of_label)

    # ------------------------------------------------------------------ positions
    def _mask(self, keep: Keep) -> Tensor:
        return torch.from_numpy(np.concatenate([keep[g.name] for g in self._subject.groups]))

    def _gone(self, keep: Keep) -> dict[tuple[str, int], np.ndarray]:
        """Positions that go, by tensor and dimension."""
        gone: dict[tuple[str, int], np.ndarray] = {}
        for group in self._subject.groups:
            for s in group.slices:
                positions = s.positions[~keep[group.name]].ravel()
                gone[s.tensor, s.dim] = np.append(gone.get((s.tensor, s.dim), positions[:0]), positions)
        return gone

    def _order_of_what_stays(
        self, orders: dict[str, np.ndarray], keep: Keep, moved: Keep
    ) -> dict[tuple[str, int], Tensor]:
        """Where the entries of a cut after the permutation lie in one before, by tensor and dimension, int64 [n]."""
        sizes = {(name, dim): n for name, t in self._subject.tensors().items() for dim, n in enumerate(t.shape)}
        before, after = self._gone(keep), self._gone(moved)
        where: dict[tuple[str, int], np.ndarray] = {}
        for group in self._subject.groups:
            for s in group.slices:
                source = where.setdefault((s.tensor, s.dim), np.arange(sizes[s.tensor, s.dim]))
                if group.name in orders:
                    source[s.positions.ravel()] = reordered(s.positions, orders[group.name])
        result = {}
        for slot, source in where.items():
            old = np.delete(np.arange(len(source)), before[slot])
            new = np.delete(source, after[slot])
            result[slot] = torch.from_numpy(np.searchsorted(old, new))
        return result

    def _suspect(self, classes: frozenset[int], keep: Keep) -> None:
        for group in self._subject.groups:
            if not keep[group.name].all() and not classes.isdisjoint(
                self._subject.classes[group.name].ravel().tolist()
            ):
                self.suspects.add(group.name)


class _Rounding:
    """Errors of rounding in the gradients of a masked network, measured by rounding its weights another way.

    Through many normalisations over few samples they grow by orders of magnitude, and the gradient of a bias before a
    normalisation consists of nothing else.
    """

    def __init__(self, subject: Subject, keep: Keep):
        self._subject, self._keep = subject, keep
        self._errors: dict[str, float] | None = None

    def explains(self, one: Tensor, other: Tensor, name: str) -> bool:
        """Whether two gradients of a parameter lie as close together as rounding can tell."""
        if one.shape != other.shape:
            return False
        if self._errors is None:
            self._errors = self._measured()
        return _distance(one, other) <= _SAFETY * self._errors.get(name, 0.0)

    def _measured(self) -> dict[str, float]:
        subject, gradients = self._subject, []
        for seed in range(3):
            with subject.masked(self._keep), subject.jittered(seed):
                gradients.append(subject.gradients(subject.run()))
        first, *others = gradients
        errors = {name: max(_distance(g, other[name]) for other in others) for name, g in first.items()}
        return {name: error for name, error in errors.items() if math.isfinite(error)}


def _distance(one: Tensor, other: Tensor) -> float:
    """The largest difference; infinite where an element is not finite."""
    if not one.numel():
        return 0.0
    largest = float((one - other).abs().max())
    return largest if math.isfinite(largest) else math.inf


def orders_of(subject: Subject, names: Collection[str], seed: int) -> dict[str, np.ndarray]:
    """A random order of the channels of some groups, by name; never the one that they have."""
    orders = {}
    for number, group in enumerate(subject.groups):
        if group.name in names:
            order = np.random.default_rng([seed, number]).permutation(group.channels)
            orders[group.name] = np.roll(order, 1) if (order == np.arange(group.channels)).all() else order
    return orders


def _left(tensor: Tensor, name: str, gone: Mapping[tuple[str, int], np.ndarray]) -> Tensor:
    """The part of a tensor that a cut leaves."""
    for dim, n in enumerate(tensor.shape):
        if (name, dim) in gone:
            stays = torch.from_numpy(np.delete(np.arange(n), gone[name, dim]))
            tensor = tensor.index_select(dim, stays.to(tensor.device))
    return tensor


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]
