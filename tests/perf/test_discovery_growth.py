"""Discovery with all proofs: its processor time on known networks, and how it grows with depth: `make perf`."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from prune_env.groups import discover
from prune_env.targets import Autoencoder

pytestmark = pytest.mark.perf


class Transformer(nn.Module):
    """An encoder of PyTorch's layers with a head."""

    def __init__(self, layers: int, width: int = 64):
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
        self.start = nn.Linear(8, width)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.start(x)))


def chain(layers: int) -> nn.Module:
    body = (m for _ in range(layers - 1) for m in (nn.Linear(32, 32), nn.ReLU()))
    return nn.Sequential(*body, nn.Linear(32, 32))


def autoencoder(layers: int) -> nn.Module:
    return Autoencoder(hidden_layers=layers).build(torch.Generator().manual_seed(0))


def seconds(model: nn.Module, x: Tensor) -> float:
    """The least processor time of two discoveries [s]."""
    times = []
    for _ in range(2):
        begun = time.process_time()
        grouping = discover(model, lambda m: m(x), [name for name, _ in model.named_children()])
        times.append(time.process_time() - begun)
        assert len(grouping) > 0
    return min(times)


# The autoencoder gets one image, as its target gives it: with few more, one training pass through 40 batch
# normalisations is so sensitive that rounding looks like a mistake, and its groups are locked.
GROWTH: dict[str, tuple[Callable[[int], nn.Module], tuple[int, ...], tuple[int, ...]]] = {
    "layers of a chain": (chain, (4, 32), (4, 16, 64, 256)),
    "hidden layers of the autoencoder": (autoencoder, (1, 64), (5, 10, 20, 40)),
    "layers of a transformer": (Transformer, (2, 5, 8), (3, 6, 12)),
}


@pytest.mark.parametrize("name", GROWTH)
def test_discovery_is_nearly_linear_in_depth(name: str) -> None:
    """Between the two deepest, the time grows at most as depth to the power of 1.4."""
    warnings.simplefilter("ignore")
    make, shape, depths = GROWTH[name]
    seconds(make(depths[0]), torch.randn(*shape))  # what is loaded at the first call
    times = [seconds(make(depth), torch.randn(*shape)) for depth in depths]
    print(f"\n{name}: " + ", ".join(f"{d}: {1e3 * t:.0f} ms" for d, t in zip(depths, times, strict=True)), end="")
    print(f"; the last step x {times[-1] / times[-2]:.2f} for x {depths[-1] / depths[-2]:.0f} the depth", end="")
    assert times[-1] / times[-2] <= (depths[-1] / depths[-2]) ** 1.4
