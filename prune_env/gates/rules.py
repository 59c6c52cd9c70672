"""The contract of a rule of gates.

Letters: W present channels of all groups, flat in group order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


@dataclass
class GateState:
    """What a rule knows in a training step.

    Attributes:
        norms: Norm of the weights that read each channel, divided by its mean over the group at the beginning, [W].
        noise: Uniform in (0, 1), new in every step, [W].
        progress: Share of the gate training that is over, in [0, 1].
        keep: Share of the channels that the budget leaves.
        mask: Which channels are open, for rules that keep a mask, bool [W].
        step: Steps that are over.
        slopes: Norm of the loss's gradient with respect to the weights that read each channel, [W].
    """

    norms: Tensor
    noise: Tensor
    progress: float
    keep: float
    mask: Tensor
    slopes: Tensor
    step: int = 0


class GateRule:
    """How gates are made of parameters theta [W], and how they close.

    Attributes:
        rate: Learning rate of theta, which Adam trains; 0 for rules without gradient.
        splices: Whether weights behind a closed gate go on learning as if it were open.
    """

    rate: float = 0.0
    splices: ClassVar[bool] = False

    def initial(self, state: GateState) -> Tensor:
        """Theta at the beginning, [W]."""
        return torch.zeros_like(state.norms)

    def gates(self, theta: Tensor, state: GateState) -> Tensor:
        """The gates of this step, [W] in [0, 1] or any range; differentiable in theta and in the norms."""
        raise NotImplementedError(f"{type(self).__name__} must implement gates(theta, state)")

    def penalty(self, theta: Tensor, state: GateState) -> Tensor:
        """What is added to the loss for each channel, times its share of the cost, [W]."""
        return torch.zeros_like(theta)

    def final(self, theta: Tensor, state: GateState) -> Tensor:
        """The gates without noise, at the end, [W]."""
        return self.gates(theta, state)

    def openness(self, theta: Tensor, state: GateState) -> Tensor:
        """A number for each channel, [W]: the lowest are removed first; at most 0 where the gate is closed."""
        return self.final(theta, state)

    def update(self, state: GateState) -> None:
        """Change the mask after a step; for rules that keep one."""
