"""Branched: one trunk that three heads read."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from prune_env.targets.examples.regression import Samples, SyntheticRegression, mlp


class BranchedNet(nn.Module):
    """A trunk, and heads for an arm's elbow, its hand and its energy."""

    def __init__(self, width: int):
        super().__init__()
        self.trunk = mlp(4, width, width)
        self.elbow = mlp(width, width, 2)
        self.hand = mlp(width, width, 2)
        self.energy = mlp(width, width, 1)

    def forward(self, arm: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Elbow [B, 2], hand [B, 2] and energy [B, 1] of arms [B, 4]."""
        features = torch.relu(self.trunk(arm))
        return self.elbow(features), self.hand(features), self.energy(features)


class Branched(SyntheticRegression):
    """A trunk and three heads predict elbow, hand and potential energy of an arm with two links."""

    components = ("trunk", "elbow", "hand", "energy")

    def draw(self, size: int, generator: torch.Generator) -> Samples:
        """Arms [N, 4] (two angles in [-1, 1] half turns, two lengths in [0.5, 1.5]) and the three answers."""
        uniform = torch.rand(size, 4, generator=generator)
        angles, lengths = (2 * uniform[:, :2] - 1), 0.5 + uniform[:, 2:]
        heading = math.pi * angles.cumsum(1)  # of each link [rad]
        links = lengths[..., None] * torch.stack([heading.cos(), heading.sin()], dim=-1)  # [N, link, xy]
        elbow, hand = links[:, 0], links.sum(1)
        # Links weigh what they are long, and their weight sits in their middle.
        height = lengths[:, :1] * elbow[:, 1:] / 2 + lengths[:, 1:] * (elbow + hand)[:, 1:] / 2
        return Samples((torch.cat([angles, lengths - 1], dim=1),), (elbow, hand, height))

    def network(self) -> nn.Module:
        """The tree."""
        return BranchedNet(self.width)
