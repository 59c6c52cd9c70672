"""The loss that a channel's weights are worth by the curvature of the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prune_env.importance.channels import ChannelSums
from prune_env.importance.criteria.base import Criterion, CriterionContext
from prune_env.validation import Range, check_fields


@dataclass(frozen=True)
class Hessian(Criterion):
    """Sum of w^2 h / 2 over the channel's weights in the root layer (OBD: LeCun et al. 1989, equation 5).

    h is the diagonal of the Hessian of the loss by Hutchinson's estimate, the mean of z * (H z) over random signs z
    (Hutchinson 1989; for pruning: Yao et al. 2021, arXiv 2006.00719, §3.3). It can be negative away from a minimum.

    Attributes:
        probes: Random vectors, each with a calibration batch of its own.

    Raises:
        ValueError: If `probes` is below 1.
    """

    signed = costly = True

    probes: int = 8

    def __post_init__(self) -> None:
        check_fields(self, {"probes": Range(1)})

    def values(self, context: CriterionContext) -> Tensor:
        """Estimates, [W]; 0 where the loss does not depend on a channel's weights."""
        sums = ChannelSums(context.surgeon)
        model = context.surgeon.model
        diagonals = {id(p): torch.zeros_like(p) for p in sums.parameters}

        def use(batch: Any, generator: torch.Generator) -> None:
            for loss, parameters in context.target.losses(model, batch):
                wanted = [p for p in parameters if id(p) in diagonals and p.requires_grad]
                for p, product in zip(wanted, _diagonal(loss, wanted, generator), strict=True):
                    diagonals[id(p)] += product

        context.derivatives(use, self.probes)
        terms = [diagonals[id(p)] / self.probes * p.detach().square() / 2 for p in sums.parameters]
        return sums.sum(terms, "signed")


def _diagonal(loss: Tensor, parameters: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """One estimate of the Hessian's diagonal, z * (H z), for each parameter."""
    if not parameters:
        return []
    signs = [(2 * torch.randint(2, p.shape, generator=generator) - 1).to(p.device, p.dtype) for p in parameters]
    gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
    directional = sum((g * z).sum() for g, z in zip(gradients, signs, strict=True))
    if not isinstance(directional, Tensor) or not directional.requires_grad:  # the loss is linear in all of them
        return [torch.zeros_like(p) for p in parameters]
    products = torch.autograd.grad(directional, parameters, retain_graph=True, materialize_grads=True)
    return [z * product for z, product in zip(signs, products, strict=True)]
