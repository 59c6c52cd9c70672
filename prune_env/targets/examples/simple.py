"""Simple: a chain of three components, each Linear, ReLU, Linear, on three-dimensional input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prune_env.targets.examples.regression import Samples, SyntheticRegression, mlp

_POSITIONS, _FEATURES, _WAVES, _ANSWERS = 4, 6, 8, 4


class SimpleNet(nn.Module):
    """first -> second -> third, the same at every position of a sequence."""

    def __init__(self, width: int):
        super().__init__()
        self.first = mlp(_FEATURES, width, width)
        self.second = mlp(width, width, width)
        self.third = mlp(width, width, _ANSWERS)

    def forward(self, sequence: Tensor) -> tuple[Tensor]:
        """Answers [B, positions, 4] for a sequence [B, positions, 6]."""
        return (self.third(self.second(self.first(sequence))),)


class Simple(SyntheticRegression):
    """Three components in a chain, Linear, ReLU, Linear each, fit sums of sine waves at each position of a sequence."""

    components = ("first", "second", "third")

    def draw(self, size: int, generator: torch.Generator) -> Samples:
        """Sequences [N, 4, 6] and the waves' sums [N, 4, 4]; the waves are the same in every split."""
        teacher = torch.Generator().manual_seed(1)
        directions = torch.randn(_FEATURES, _WAVES, generator=teacher) / 2
        weights = torch.randn(_WAVES, _ANSWERS, generator=teacher)
        sequence = torch.randn(size, _POSITIONS, _FEATURES, generator=generator)
        return Samples((sequence,), (torch.sin(sequence @ directions) @ weights,))

    def network(self) -> nn.Module:
        """The chain."""
        return SimpleNet(self.width)
