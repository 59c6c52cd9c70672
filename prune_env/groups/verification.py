"""Prove every group before anything is cut: by permutation, and by a dry cut with forward and backward pass.

Permuting a group's channels in all its members must leave every output as it was: a member that was missed, or a
channel that was mistaken for another, shows. A dry cut must run, and every intermediate tensor must hold exactly the
channels of the dense network that are left. Groups are tried together, and half of them at a time, such that of any two
groups one is permuted while the other is not: no wrong pair can hide. Only if a round fails are they tried one by one.

Letters: G groups, C channels of one group, N classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from prune_env.groups.surgery import Surgeon
from prune_env.groups.tracing.equivalence import Classes
from prune_env.groups.tracing.labels import relabel
from prune_env.groups.tracing.propagation import (
    MismatchError,
    Trace,
    compare,
    copied,
    expected_record,
    propagate,
    tensors_of,
)
from prune_env.groups.tracing.randomize import randomize, undisturbed
from prune_env.groups.types import Group, Grouping

_TOLERANCE = 1e-4  # relative to the largest output; sums in another order stay a hundred times below it

_SHAKES = 3  # an output that happens to be near zero shows mere rounding; a mistake shows with any weights

Trial = Callable[[Sequence[Group]], str | None]
Rounds = Callable[[Sequence[Group]], list[Sequence[Group]]]


def verify(model: nn.Module, trace: Trace, components: Sequence[str], grouping: Grouping) -> dict[str, str]:
    """Prove the prunable groups of a grouping, wherever it comes from, on a dense network, which is left as it was.

    Returns:
        Why a group must not be cut, by its name; groups that pass are not in it.
    """
    with undisturbed():
        twin = copied(model).eval()
        return failures_of(twin, trace, Classes(propagate(twin, trace)[0], components), grouping.groups)


def failures_of(model: nn.Module, trace: Trace, classes: Classes, groups: Sequence[Group]) -> dict[str, str]:
    """Try all groups.

    Args:
        model: A copy of the dense network in evaluation mode; it is left changed.
        trace: Its trace.
        classes: What propagation has found.
        groups: The groups to be proved.

    Returns:
        Why a group must be locked, by its name; those that passed are not in it.
    """
    failed = _sieve(groups, _halves, DryCut(model, trace, classes, groups))
    suspects: dict[str, str] = {}
    for _ in range(_SHAKES):
        doubtful = [g for g in groups if g.name not in failed and (not suspects or g.name in suspects)]
        suspects = _sieve(doubtful, _pairs_apart, Permutation(model, trace))
        if not suspects:
            break
    return failed | suspects


def _sieve(groups: Sequence[Group], rounds: Rounds, trial: Trial) -> dict[str, str]:
    for only in rounds(groups):
        if reason := trial(only):
            failed = {g.name: why for g in only if (why := trial([g]))}
            failed = failed or dict.fromkeys((g.name for g in only), f"together with other groups {reason}")
            return failed | _sieve([g for g in groups if g.name not in failed], rounds, trial)
    return {}


def _halves(groups: Sequence[Group]) -> list[Sequence[Group]]:
    """All groups together, and every second one."""
    return [subset for subset in (groups, groups[::2], groups[1::2]) if subset]


def _pairs_apart(groups: Sequence[Group]) -> list[Sequence[Group]]:
    """Subsets such that of any two groups each is tried without the other."""
    subsets = [groups]
    for bit in range((len(groups) - 1).bit_length()):
        subsets += [[g for i, g in enumerate(groups) if i >> bit & 1 == side] for side in (0, 1)]
    return [subset for subset in subsets if subset]


class DryCut:
    """Cut random channels, and compare the trace with the dense one, operator by operator."""

    def __init__(self, model: nn.Module, trace: Trace, classes: Classes, groups: Sequence[Group]):
        self._model, self._trace, self._classes = model, trace, classes
        self._surgeon = Surgeon(model, Grouping(tuple(groups)))
        self._dense = self._surgeon.snapshot()
        self._shapes = [tensor.shape for tensor in tensors_of(trace(model))]
        self._groups = list(groups)
        self._random = np.random.default_rng(0)

    def __call__(self, groups: Sequence[Group]) -> str | None:
        """Why cutting these groups goes wrong, or None."""
        names = {g.name for g in groups}
        for left in (2, 1):  # with one channel left, broadcasting and squeezing may surprise
            keep = [self._keep(g, left if g.name in names else g.channels) for g in self._groups]
            try:
                self._try(keep, strictly=left > 1)
            except MismatchError as error:
                return f"a dry cut went wrong: {error}"
            except Exception as error:
                return f"a dry cut fails with {type(error).__name__}: {_first_line(error)}"
            finally:
                self._surgeon.restore(self._dense)
        return None

    def _keep(self, group: Group, left: int) -> np.ndarray:
        """Which channels stay, bool [C]: a random number from `left` to all but one; exactly one if `left` is 1."""
        most = max(left, group.channels - 1) if left > 1 else left
        count = int(self._random.integers(left, most + 1)) if left < group.channels else group.channels
        keep = np.zeros(group.channels, dtype=bool)
        keep[self._random.permutation(group.channels)[:count]] = True
        return keep

    def _try(self, keep: Sequence[np.ndarray], strictly: bool) -> None:
        classes = self._classes
        left = np.ones(classes.count, dtype=bool)
        for group, mask in zip(self._groups, keep, strict=True):
            left[group_classes(classes, group)[~mask]] = False
        self._surgeon.cut(torch.from_numpy(np.concatenate(keep)))
        table = np.where(left[classes.of_label], classes.of_label, np.iinfo(np.int64).min)
        seeds = {name: relabel(dims, table) for name, dims in classes.dense.seeds.items()}
        expected = expected_record(classes.dense, table)
        cut, outputs = propagate(self._model, self._trace, seeds)
        if strictly:  # PyTorch may take other ways through a layer with one channel, and labels get lost
            compare(expected, cut.record)
        with torch.no_grad():  # PyTorch has other, faster ways through some layers when nothing is to be learnt
            quickly = tensors_of(self._trace(self._model))
        if not [t.shape for t in outputs] == [t.shape for t in quickly] == self._shapes:
            raise MismatchError("an output has another shape")
        _backward(outputs)


class Permutation:
    """Permute channels in all members, and see whether an output changes."""

    def __init__(self, model: nn.Module, trace: Trace):
        self._model = model
        self._run = randomize(model, trace)
        self._before = self._run()
        self._random = torch.Generator().manual_seed(0)

    def __call__(self, groups: Sequence[Group]) -> str | None:
        """Why these groups cannot be permuted, or None."""
        orders = [_other_order(group.channels, self._random) for group in groups]
        self._permute(groups, orders)
        try:
            after = self._run()
        except Exception as error:
            return f"it fails under permuted channels with {type(error).__name__}: {_first_line(error)}"
        finally:
            self._permute(groups, [order.argsort() for order in orders])
        if all(_close(x, y) for x, y in zip(self._before, after, strict=True)):
            return None
        return "permuting its channels in all its members changes the output, so a member must be missing"

    @torch.no_grad()
    def _permute(self, groups: Sequence[Group], orders: Sequence[Tensor]) -> None:
        tensors = dict([*self._model.named_parameters(), *self._model.named_buffers()])
        for group, order in zip(groups, orders, strict=True):
            for s in group.slices:
                tensor, positions = tensors[s.tensor], torch.from_numpy(s.positions)
                where = torch.arange(tensor.shape[s.dim])
                where[positions.flatten()] = positions[order].flatten()
                tensor.copy_(tensor.index_select(s.dim, where.to(tensor.device)))


def group_classes(classes: Classes, group: Group) -> np.ndarray:
    """Classes of every channel of a group, int64 [C, M], M positions of one channel in all its slices."""
    return np.concatenate([classes.of(s.tensor, s.dim)[s.positions] for s in group.slices], axis=1)


def _other_order(channels: int, generator: torch.Generator) -> Tensor:
    order = torch.randperm(channels, generator=generator)
    return order.roll(1) if bool((order == torch.arange(channels)).all()) else order


def _close(x: Tensor, y: Tensor) -> bool:
    if x.shape != y.shape:
        return False
    if not x.is_floating_point():
        return bool((x == y).all())
    return torch.allclose(x, y, rtol=0.0, atol=_TOLERANCE * float(x.abs().max()) if x.numel() else 0.0, equal_nan=True)


def _backward(outputs: list[Tensor]) -> None:
    leaves = [t for t in outputs if t.requires_grad]
    if leaves:
        torch.stack([t.sum() for t in leaves]).sum().backward()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]
