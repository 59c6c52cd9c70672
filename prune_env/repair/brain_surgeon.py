"""Repair of all weights by the curvature of the loss: the second-order update of OBS.

Letters: N gradients, P entries of all parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prune_env.groups import Surgeon
from prune_env.repair.base import Repair
from prune_env.repair.batchnorm import RecalibrateBatchNorm
from prune_env.repair.copies import copies_of
from prune_env.targets import Target
from prune_env.validation import Range, check_fields


@dataclass(frozen=True)
class BrainSurgeon(Repair):
    """Move the weights that stay so that the loss rises least, to second order, when the others become zero.

    Optimal Brain Surgeon (Hassibi and Stork 1992, equation 5, for several weights at once): the change d minimises
    d' F d / 2 with d = -w for the weights R that go, so that those that stay change by F_SS^-1 F_SR w_R. F is the
    empirical Fisher matrix of N batch gradients g, damped: F = lambda I + sum g g' / N (WoodFisher: Singh and Alistarh
    2020, arXiv 2004.14340, §3). With the gradients as rows of G the change is

        G_S' (N lambda I + G_S G_S')^-1 G_R w_R

    which needs an N x N system only. Target networks change alike. Running statistics of BatchNorm are recalibrated.

    Attributes:
        gradients: N, each of one training batch.
        damping: N lambda, relative to the mean squared norm of G_S's rows.

    Raises:
        ValueError: If a value is out of range.
    """

    gradients: int = 16
    damping: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self, {"gradients": Range(1), "damping": Range(0, ends="()")})

    def before_cut(self, target: Target, surgeon: Surgeon, keep: Tensor, batches: Iterator[Any]) -> None:
        """Measure gradients, and move the weights that stay."""
        named = {name: p for name, p in surgeon.model.named_parameters() if p.requires_grad}
        gradients = {name: [] for name in named}  # type: dict[str, list[Tensor]]
        surgeon.model.eval()  # as it is deployed; whoever trains it next sets its mode
        with torch.enable_grad():
            for _ in range(self.gradients):
                for name, g in _gradient(target, surgeon, next(batches)).items():
                    gradients[name].append(g.flatten())
        rows = {name: torch.stack(listed) for name, listed in gradients.items()}  # [N, entries]
        going = _going(surgeon, keep, named)
        some = next(iter(rows.values()))
        inner, loss_of = some.new_zeros(self.gradients, self.gradients), some.new_zeros(self.gradients)
        for name, g in rows.items():
            gone = going[name].flatten()
            inner += (g * ~gone) @ g.T
            loss_of += (g * gone) @ named[name].detach().flatten()
        inner.diagonal().add_(self.damping * inner.diagonal().mean() + torch.finfo(some.dtype).tiny)  # N lambda
        mix = torch.linalg.solve(inner, loss_of)  # [N]
        for name, g in rows.items():
            change = ((mix @ g) * ~going[name].flatten()).view_as(named[name])
            layer, _, key = name.rpartition(".")
            with torch.no_grad():
                for copy in copies_of(surgeon, layer):
                    copy.get_parameter(key).add_(change)

    def after_cut(self, target: Target, model: nn.Module, batches: Iterator[Any]) -> None:
        """Recalibrate running statistics, if there are any."""
        RecalibrateBatchNorm().after_cut(target, model, batches)


def _gradient(target: Target, surgeon: Surgeon, batch: Any) -> dict[str, Tensor]:
    """The gradient of every parameter's own loss on one batch, zero where it has none."""
    model = surgeon.model
    names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    target.collect(model, batch)
    found = {name: torch.zeros_like(p) for name, p in model.named_parameters() if p.requires_grad}
    for loss, parameters in target.losses(model, batch):
        wanted = [p for p in parameters if id(p) in names]
        for p, g in zip(
            wanted, torch.autograd.grad(loss, wanted, retain_graph=True, materialize_grads=True), strict=True
        ):
            found[names[id(p)]] += g
    return found


def _going(surgeon: Surgeon, keep: Tensor, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Which entries of each parameter go with the channels where `keep` is False, bool of the parameter's shape."""
    gone = torch.zeros(int(surgeon.grouping.widths.sum()) + 1, dtype=torch.bool)  # the last entry: no channel
    gone[surgeon.present[~keep]] = True
    going = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in named.items()}
    for tensor, dim in dict.fromkeys((s.tensor, s.dim) for group in surgeon.grouping for s in group.slices):
        if tensor in going:
            index = gone[surgeon.owner(tensor, dim)].nonzero()[:, 0].to(going[tensor].device)
            going[tensor] = going[tensor].index_fill(dim, index, True)
    return going
