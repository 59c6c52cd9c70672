"""The per-group cosine-L1 regularisation of arXiv 2601.19794, §3, as a gradient added in place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from prune_env.groups import Surgeon


@dataclass(frozen=True)
class CosineSchedule:
    """S(t, i) = l_min + (l_max - l_min)/2 * [1 + cos(2 pi (t + phi_i)/T)] with phi_i = i T / n.

    Attributes:
        base: l_base, the strength that the bounds are multiples of.
        low: l_min / l_base.
        high: l_max / l_base.
        period: T [epochs].
    """

    base: float = 1e-5
    low: float = 0.1
    high: float = 2.0
    period: float = 20.0

    def strength(self, epoch: float, index: int, groups: int) -> float:
        """S of group `index` of `groups` at `epoch` (a float) [epochs]."""
        low, high = self.low * self.base, self.high * self.base
        phase = index * self.period / groups
        return low + (high - low) / 2 * (1 + math.cos(2 * math.pi * (epoch + phase) / self.period))


class CosineL1:
    """An observer of training that adds the gradient of `weight * sum_i lambda_i(t) ||Theta_i||_1`.

    lambda_i(t) = S(t, i) / sqrt(N_i), with Theta_i the N_i parameters of group i's root layer. The gradient of the
    absolute value is the sign, so nothing needs to go through autograd.

    Args:
        surgeon: Holds the model and its groups.
        steps_per_epoch: How many steps make an epoch.
        schedule: The cosine S.
        weight: lambda_weight, the factor of the whole term.
        step: Where the schedule stands [steps].
    """

    def __init__(
        self,
        surgeon: Surgeon,
        steps_per_epoch: int,
        schedule: CosineSchedule | None = None,
        weight: float = 1.0,
        step: int = 0,
    ):
        self.surgeon, self.steps_per_epoch = surgeon, steps_per_epoch
        self.schedule = schedule or CosineSchedule()
        self.weight, self.step = weight, step
        self.bind()

    def bind(self) -> None:
        """Evaluation up the parameters again, after surgery or a restore has replaced them."""
        named = dict(self.surgeon.model.named_parameters(remove_duplicate=False))
        terms = [
            (named[s.tensor], g)
            for g, group in enumerate(self.surgeon.grouping.groups)
            for s in group.root_slices
            if s.tensor in named
        ]
        sizes = [0] * len(self.surgeon.grouping)
        for parameter, g in terms:
            sizes[g] += parameter.numel()
        self._terms = terms
        self._scale = [self.weight / math.sqrt(max(size, 1)) for size in sizes]

    def coefficients(self) -> list[float]:
        """The products weight * lambda_i at the present step, one for each group."""
        epoch = self.step / self.steps_per_epoch
        groups = len(self._scale)
        return [scale * self.schedule.strength(epoch, i, groups) for i, scale in enumerate(self._scale)]

    def after_backward(self, optimizer: torch.optim.Optimizer) -> None:
        """Add sign(theta) * lambda to the gradients of this optimizer's parameters."""
        owned = {id(p) for settings in optimizer.param_groups for p in settings["params"]}
        coefficients = self.coefficients()
        with torch.no_grad():
            for parameter, g in self._terms:
                if parameter.grad is not None and id(parameter) in owned:
                    parameter.grad.add_(parameter.sign(), alpha=coefficients[g])

    def after_step(self) -> None:
        """Advance the clock by one step."""
        self.step += 1

    def after_surgery(self, keep: torch.Tensor) -> None:
        """Follow the parameters to their new, smaller selves."""
        self.bind()
