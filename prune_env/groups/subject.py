"""A randomised copy of the dense network, and what can be done to it without cutting: masking, permuting, measuring.

Letters: C channels of one group, L labels, M positions that one channel has in all slices together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from prune_env.groups.comparison import differs
from prune_env.groups.tracing.depth import Depth
from prune_env.groups.tracing.propagation import Propagation, named_tensors
from prune_env.groups.tracing.randomize import Runner
from prune_env.groups.types import Group

_INTEGER = "nothing can be proved: no output is a real number"
_EMPTY = "nothing can be proved: all outputs are empty"
_INFINITE = "nothing can be proved: no output is finite"
_SILENT = "nothing can be proved: no output of the trace reacts to its channels"


class Subject:
    """A randomised dense network, what it computes, and which classes the channels of its groups have.

    Attributes:
        outputs: What the dense network returns.
        scale: How much each element of the outputs varies with the weights of the groups.
        weights: Random numbers; the sum of the outputs times these is what gradients are taken of.
    """

    def __init__(self, run: Runner, groups: Sequence[Group]):
        self.run, self.groups = run, list(groups)
        propagation: list[Propagation] = []

        def labelled(depth: Depth) -> Propagation:
            propagation.append(Propagation(run.model, depth))
            return propagation[0]

        self.outputs = [t.detach().clone() for t in run(observer=labelled)]
        self.steps, seeds = propagation[0].steps, propagation[0].seeds
        channels = {  # int64 [C, M], M positions of one channel in all its slices
            g.name: np.concatenate([seeds[s.tensor][s.dim][0][s.positions] for s in g.slices], axis=1) for g in groups
        }
        self.of_label = propagation[0].ledger.conclude(tied=channels.values()).of_label
        self.classes = {name: self.of_label[labels] for name, labels in channels.items()}
        generator = torch.Generator().manual_seed(1)
        self.weights = [torch.randn(t.shape, generator=generator) for t in self.outputs]
        with self.masked({g.name: np.arange(g.channels) % 2 == 0 for g in groups}):
            changed = [t.detach() for t in run()]
        self.scale = [_change(x, y) for x, y in zip(self.outputs, changed, strict=True)]

    @property
    def precise(self) -> bool:
        """Whether everything is computed in double precision."""
        return self.run.precise

    def tensors(self) -> dict[str, Tensor]:
        """Parameters, buffers and constants by name."""
        return dict(named_tensors(self.run.model))

    def same_outputs(self, one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
        """Whether two runs return the same, element by element."""
        return len(one) == len(other) and not any(
            differs(x, y, self.precise, scale) for x, y, scale in zip(one, other, self.scale, strict=True)
        )

    def gradients(self, outputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Gradients of all parameters that have one, by name; they are taken off the network again."""
        terms = []
        for tensor, weight in zip(outputs, self.weights, strict=True):
            if tensor.requires_grad:
                finite = tensor.isfinite()
                terms.append((tensor[finite] * weight.to(tensor.device)[finite]).sum().abs())
        if terms:
            torch.stack([t.double() for t in terms]).sum().backward()
        found = {n: p.grad for n, p in self.run.model.named_parameters() if p.grad is not None}
        self.run.model.zero_grad(set_to_none=True)
        return found

    @contextmanager
    def masked(self, keep: Mapping[str, np.ndarray], factor: float = 0.0) -> Iterator[None]:
        """While the context lasts, all weights of the channels that go are zero, or another multiple of what they are.

        Args:
            keep: Which channels stay, bool [C] by name of the group; the others have all.
            factor: The multiple.
        """
        parameters = dict(self.run.model.named_parameters())
        undo = []
        with torch.no_grad():
            for group in self.groups:
                stays = keep.get(group.name, np.ones(group.channels, dtype=bool))
                for s in group.slices:
                    if s.tensor in parameters and not stays.all():
                        tensor = parameters[s.tensor]
                        gone = torch.from_numpy(s.positions[~stays].ravel()).to(tensor.device)
                        undo.append((tensor, s.dim, gone, tensor.index_select(s.dim, gone)))
                        tensor.index_copy_(s.dim, gone, factor * undo[-1][3])
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, dim, gone, values in reversed(undo):
                    tensor.index_copy_(dim, gone, values)

    @contextmanager
    def jittered(self, seed: int) -> Iterator[None]:
        """While the context lasts, all weights are rounded another way: off by up to two units in the last place."""
        generator = torch.Generator().manual_seed(seed)
        before = [(p, p.detach().clone()) for p in self.run.model.parameters() if p.is_floating_point()]
        with torch.no_grad():
            for parameter, values in before:
                noise = torch.rand(values.shape, generator=generator, dtype=torch.float64) * 4 - 2
                parameter.copy_(values * (1 + torch.finfo(values.dtype).eps * noise.to(values.device)))
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, values in before:
                    parameter.copy_(values)

    @contextmanager
    def permuted(self, orders: Mapping[str, np.ndarray]) -> Iterator[None]:
        """Channels stand in another order while the context lasts: the new channel j is the old `orders[...][j]`."""
        tensors = self.tensors()
        before = {s.tensor: tensors[s.tensor].data for g in self.groups if g.name in orders for s in g.slices}
        after = dict(before)
        for group in self.groups:
            for s in group.slices if group.name in orders else ():
                where = np.arange(tensors[s.tensor].shape[s.dim])
                where[s.positions.ravel()] = reordered(s.positions, orders[group.name])
                after[s.tensor] = after[s.tensor].index_select(
                    s.dim, torch.from_numpy(where).to(after[s.tensor].device)
                )
        for name, values in after.items():
            tensors[name].data = values
        try:
            yield
        finally:
            for name, values in before.items():
                tensors[name].data = values

    @property
    def measures_nothing(self) -> str | None:
        """Why no group can be proved at all, or None."""
        real = [t for t in self.outputs if t.is_floating_point() or t.is_complex()]
        checks = {
            _INTEGER: not real,
            _EMPTY: not any(t.numel() for t in real),
            _INFINITE: not any(bool(t.isfinite().any()) for t in real),
        }
        return next((reason for reason, fails in checks.items() if fails), None)

    def unmeasured(self) -> dict[str, str]:
        """Why nothing can be proved about a group, by name: no output reacts to it."""
        if reason := self.measures_nothing:
            return dict.fromkeys((g.name for g in self.groups), reason)
        gradients = self.gradients(self.run())
        return {g.name: _SILENT for g in self.groups if not _reached(g, gradients) and not self._reacts(g)}

    def _reacts(self, group: Group) -> bool:
        """Whether a slightly larger half of a group changes an output; a jump of a sign or a rank is not enough."""
        with self.masked({group.name: np.arange(group.channels) % 2 == 0}, factor=1.0001 if self.precise else 1.01):
            changed = self.run()
        pairs = [(x, y) for x, y in zip(self.outputs, changed, strict=True) if x.is_floating_point() or x.is_complex()]
        return any(differs(x, y, self.precise) for x, y in pairs)


def reordered(positions: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Where the entries come from that lie at `positions` [C, K] once channels are in another order, int64 [C*K]."""
    return positions[order].ravel()


def _reached(group: Group, gradients: Mapping[str, Tensor]) -> bool:
    """Whether the gradient of one of its slices is not zero."""
    for s in group.slices:
        if s.tensor in gradients:
            here = torch.from_numpy(s.positions.ravel()).to(gradients[s.tensor].device)
            values = gradients[s.tensor].index_select(s.dim, here)
            if bool(((values != 0) & values.isfinite()).any()):
                return True
    return False


def _change(x: Tensor, y: Tensor) -> Tensor:
    """How far two outputs lie apart, element by element; zero where that cannot be told."""
    if x.shape != y.shape or not (x.is_floating_point() or x.is_complex()):
        return torch.zeros_like(x)
    return (x - y).abs().nan_to_num(0.0, 0.0, 0.0)
