"""Complex CNN: convolutions with batch normalisation, a residual, a depthwise layer, a gate, and two kinds of head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prune_env.targets.examples.regression import Samples, SyntheticRegression

_SIZE = 12  # height and width of an image [pixels]


class Body(nn.Module):
    """A residual block: a depthwise and a pointwise convolution, gated by squeeze and excitation."""

    def __init__(self, channels: int):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.squeeze = nn.Conv2d(channels, channels // 2, 1)
        self.excite = nn.Conv2d(channels // 2, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, C, H, W], of the shape of the input."""
        mixed = self.pointwise(torch.relu(self.norm(self.depthwise(features))))
        gate = self.excite(torch.relu(self.squeeze(mixed.mean(dim=(2, 3), keepdim=True))))
        return torch.relu(features + mixed * torch.sigmoid(gate))


class ComplexCNNNet(nn.Module):
    """stem -> body -> locator (flattened, Linear) and painter (a transposed convolution)."""

    def __init__(self, width: int):
        super().__init__()
        half, area = max(width // 2, 2), (_SIZE // 2) ** 2
        self.stem = nn.Sequential(
            nn.Conv2d(1, half, 3, padding=1),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            nn.Conv2d(half, width, 3, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.body = Body(width)
        self.locator = nn.Sequential(
            nn.Conv2d(width, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * area, width), nn.ReLU(), nn.Linear(width, 4)
        )
        self.painter = nn.Sequential(
            nn.ConvTranspose2d(width, half, 2, stride=2), nn.ReLU(), nn.Conv2d(half, 1, 3, padding=1)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Row, column, radius and brightness [B, 4] of the spot in images [B, 1, 12, 12], and clean images."""
        features = self.body(self.stem(images))
        return self.locator(features), self.painter(features)


class ComplexCNN(SyntheticRegression):
    """A stem, a gated residual body and two heads (flattened; transposed convolution) find a spot and clean its image.

    Args:
        width: Channels of the stem's output [channels], at least 2.
        batch_size: Images in a training batch.
        dense_steps: Training steps of a dense checkpoint.
        learning_rate: As in `SyntheticRegression`.

    Raises:
        ValueError: If a number is too small.
    """

    components = ("stem", "body", "locator", "painter")

    def __init__(
        self, width: int = 16, batch_size: int = 64, dense_steps: int = 400, learning_rate: float = 3e-3
    ) -> None:
        if width < 2:
            raise ValueError(f"width must be at least 2, got {width}")
        super().__init__(width, batch_size, dense_steps, learning_rate)

    def draw(self, size: int, generator: torch.Generator) -> Samples:
        """Images [N, 1, 12, 12], their parameters [N, 4], and the same images without noise."""
        place = torch.rand(size, 4, generator=generator)
        row, column, radius, brightness = (place * torch.tensor([6.0, 6, 1.5, 1]) + torch.tensor([3.0, 3, 1, 0.5])).T
        pixels = torch.arange(_SIZE)
        down = (pixels - row[:, None]).square()[:, :, None]
        along = (pixels - column[:, None]).square()[:, None, :]
        spot = brightness[:, None, None] * torch.exp(-(down + along) / (2 * radius.square()[:, None, None]))
        clean = spot[:, None]
        return Samples((clean + 0.1 * torch.randn(clean.shape, generator=generator),), (place, clean))

    def network(self) -> nn.Module:
        """The convolutional network."""
        return ComplexCNNNet(self.width)
