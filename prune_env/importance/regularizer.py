"""The per-group cosine-L1 regularisation of arXiv 2601.19794, §3, as a gradient added in place."""

from __future__ import annotations

import math
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from prune_env.groups import Surgeon
from prune_env.importance.config import RegularizerConfig


class CosineL1:
    """An observer of training that adds the gradient of `lambda_weight(t) * sum_i lambda_i(t) ||Theta_i||_1`.

        lambda_i(t) = S(t, i) / sqrt(N_i)
        S(t, i) = l_min + (l_max - l_min)/2 * [1 + cos(2 pi (t + phi_i)/T)],  phi_i = i T / n

    with Theta_i the N_i parameters of the root layer of group i of n. The gradient of the absolute value is the sign,
    so nothing needs to go through autograd.

    Args:
        surgeon: Holds the model and its groups.
        steps_per_epoch: How many steps make an epoch.
        config: l_base, bounds and period of S, and how lambda_weight changes.
        step: Position in the schedule [steps].
    """

    def __init__(self, surgeon: Surgeon, steps_per_epoch: int, config: RegularizerConfig | None = None, step: int = 0):
        self.surgeon, self.steps_per_epoch = surgeon, steps_per_epoch
        self.config, self.step = config or RegularizerConfig(), step
        self.bind()

    def bind(self) -> None:
        """Look up the parameters again, after surgery or a restore has replaced them."""
        named = dict(self.surgeon.model.named_parameters(remove_duplicate=False))
        self._terms = [
            (named[s.tensor], g)
            for g, group in enumerate(self.surgeon.grouping.groups)
            for s in group.root_slices
            if s.tensor in named
        ]
        sizes = [0] * len(self.surgeon.grouping)
        for parameter, g in self._terms:
            sizes[g] += parameter.numel()
        self._scale = [1.0 / math.sqrt(max(size, 1)) for size in sizes]
        self._owned: WeakKeyDictionary[torch.optim.Optimizer, list[tuple[nn.Parameter, int]]] = WeakKeyDictionary()

    def strength(self, epoch: float, group: int) -> float:
        """S of a group at `epoch` (a float) [epochs]."""
        config = self.config
        low, high = config.low * config.base, config.high * config.base
        phase = group * config.period / len(self._scale)
        return low + (high - low) / 2 * (1 + math.cos(2 * math.pi * (epoch + phase) / config.period))

    def weight(self, epoch: float) -> float:
        """lambda_weight at `epoch` [epochs]."""
        return 1.0 if self.config.weight == "constant" else min(1.0, epoch / self.config.ramp)

    def coefficients(self) -> list[float]:
        """The products lambda_weight * lambda_i at the present step, one for each group."""
        epoch = self.step / self.steps_per_epoch
        weight = self.weight(epoch)
        return [weight * scale * self.strength(epoch, g) for g, scale in enumerate(self._scale)]

    @torch.no_grad()
    def after_backward(self, optimizer: torch.optim.Optimizer) -> None:
        """Add sign(theta) * lambda to the gradients of this optimizer's parameters."""
        if optimizer not in self._owned:
            owned = {id(p) for settings in optimizer.param_groups for p in settings["params"]}
            self._owned[optimizer] = [(p, g) for p, g in self._terms if id(p) in owned]
        terms = [(p, p.grad, g) for p, g in self._owned[optimizer] if p.grad is not None]
        if not terms:
            return
        coefficients = self.coefficients()
        signs = torch._foreach_sign([p for p, _, _ in terms])
        for sign, (_, gradient, g) in zip(signs, terms, strict=True):
            gradient.add_(sign, alpha=coefficients[g])

    def after_step(self) -> None:
        """Advance the schedule by one step."""
        self.step += 1

    def after_surgery(self, keep: Tensor) -> None:
        """Look up the parameters that the cut has replaced."""
        self.bind()
