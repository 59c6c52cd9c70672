"""Recursive: one component carries a state forward, and another one reads it after every step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prune_env.targets.examples.pendulum import advance, observe
from prune_env.targets.examples.regression import Samples, SyntheticRegression, mlp

_STEPS = 4


class RecursiveNet(nn.Module):
    """encoder -> state; state + cell(state, torque) -> state, again and again; readout of every state."""

    def __init__(self, width: int):
        super().__init__()
        self.encoder = mlp(3, width, width)
        self.cell = mlp(width + 1, width, width)
        self.readout = mlp(width, width, 3)

    def forward(self, start: Tensor, torques: Tensor) -> tuple[Tensor]:
        """Observations [B, steps, 3] that follow a start [B, 3] under torques [B, steps]."""
        state, seen = self.encoder(start), []
        for t in range(torques.shape[1]):
            state = state + self.cell(torch.cat([state, torques[:, t : t + 1]], dim=1))
            seen.append(self.readout(state))
        return (torch.stack(seen, dim=1),)


class Recursive(SyntheticRegression):
    """An encoder, a cell applied four times with a residual, and a readout of each state predict a driven pendulum."""

    components = ("encoder", "cell", "readout")

    def draw(self, size: int, generator: torch.Generator) -> Samples:
        """First observations [N, 3] and torques [N, 4], and the observations after each step [N, 4, 3]."""
        angle, speed = 2 * torch.randn(2, size, generator=generator)
        torques = 2 * torch.randn(size, _STEPS, generator=generator)
        start, seen = observe(angle, speed), []
        for t in range(_STEPS):
            angle, speed = advance(angle, speed, torques[:, t])
            seen.append(observe(angle, speed))
        return Samples((start, torques), (torch.stack(seen, dim=1),))

    def network(self) -> nn.Module:
        """The recurrent network."""
        return RecursiveNet(self.width)
