"""Multi-Path: three paths read the same signal; two are added, the third joins by concatenation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prune_env.targets.examples.regression import Samples, SyntheticRegression, mlp

_TIMES = 16


class MultiPathNet(nn.Module):
    """shallow + deep, concatenated with direct, into a fusion."""

    def __init__(self, width: int):
        super().__init__()
        self.shallow = mlp(_TIMES, width, width)
        self.deep = mlp(_TIMES, width, width, width)
        self.direct = nn.Sequential(nn.Linear(_TIMES, width), nn.ReLU())
        self.fusion = mlp(2 * width, width, 3)

    def forward(self, signal: Tensor) -> tuple[Tensor]:
        """Amplitude, frequency and offset [B, 3] of signals [B, 16]."""
        both = torch.relu(self.shallow(signal) + self.deep(signal))
        return (self.fusion(torch.cat([both, self.direct(signal)], dim=1)),)


class MultiPath(SyntheticRegression):
    """Three paths, two added and one concatenated, and a fusion find an oscillation's amplitude, frequency, offset."""

    components = ("shallow", "deep", "direct", "fusion")

    def draw(self, size: int, generator: torch.Generator) -> Samples:
        """Signals [N, 16] over one unit of time, and their parameters [N, 3]."""
        amplitude, frequency, offset = torch.rand(3, size, 1, generator=generator)
        amplitude, frequency = 0.5 + amplitude, 2 + 4 * frequency  # [1], [rad]
        time = torch.linspace(0, 1, _TIMES)
        clean = offset + amplitude * torch.sin(frequency * time)
        signal = clean + 0.02 * torch.randn(size, _TIMES, generator=generator)
        spread = torch.cat([amplitude, frequency / 4, offset], dim=1)  # comparable variances
        return Samples((signal,), (spread,))

    def network(self) -> nn.Module:
        """The paths and their fusion."""
        return MultiPathNet(self.width)
