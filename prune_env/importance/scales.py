"""L1 on the scales of normalisation layers: network slimming (Liu et al. 2017, arXiv 1708.06519, equation 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from prune_env.groups import Surgeon
from prune_env.importance.criteria import scales_of


class ScaleL1:
    """An observer of training that adds the gradient of `strength * sum |gamma|`.

    Args:
        surgeon: Holds the model and its groups.
        strength: Lambda of the paper.
    """

    def __init__(self, surgeon: Surgeon, strength: float):
        self.surgeon, self.strength = surgeon, strength
        self._names = scales_of(surgeon)

    @torch.no_grad()
    def after_backward(self, optimizer: torch.optim.Optimizer) -> None:
        """Add strength * sign(gamma) to the gradients of the scales that this optimizer trains."""
        owned = {id(p) for settings in optimizer.param_groups for p in settings["params"]}
        for name in self._names:
            scale = self.surgeon.model.get_parameter(name)
            if scale.grad is not None and id(scale) in owned:
                scale.grad.add_(scale.sign(), alpha=self.strength)

    def after_step(self) -> None:
        """Nothing changes over time."""

    def after_surgery(self, keep: Tensor) -> None:
        """Parameters are looked up by name in every step."""
