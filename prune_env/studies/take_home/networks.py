"""The networks of this study: an autoencoder, a ResNet-18 shape, a transformer and a small residual classifier.

All of them learn scikit-learn's 8x8 digits, or MNIST for the autoencoder, for a few epochs: enough to have a score to
lose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from prune_env.targets import make_target
from prune_env.targets.data import LOADERS


@dataclass(frozen=True)
class Subject:
    """A trained network and what `prune` needs to know of it.

    Attributes:
        name: What it is called.
        model: The network.
        functions: Arguments of `prune`.
        heads: Layers whose outputs are split into heads, and into how many, which Torch-Pruning has to be told.
        outputs: Layers that Torch-Pruning must leave alone.
    """

    name: str
    model: nn.Module
    functions: dict[str, Any]
    heads: dict[nn.Module, int]
    outputs: Sequence[nn.Module]


class _Residual(nn.Module):
    def __init__(self, given: int, made: int, stride: int):
        super().__init__()
        self.first = nn.Conv2d(given, made, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(made)
        self.second = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.last = nn.BatchNorm2d(made)
        short = nn.Sequential(nn.Conv2d(given, made, 1, stride, bias=False), nn.BatchNorm2d(made))
        self.short = short if stride > 1 or given != made else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.last(self.second(F.relu(self.norm(self.first(x))))) + self.short(x))


class ResNet(nn.Module):
    """ResNet-18's blocks and widths (1512.03385) for small pictures: 11.2 million parameters at width 64."""

    def __init__(self, width: int = 64, blocks: Sequence[int] = (2, 2, 2, 2)):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        layers: list[nn.Module] = []
        given = width
        for i, count in enumerate(blocks):
            made = width * 2**i
            layers += [_Residual(given if j == 0 else made, made, 2 if i and j == 0 else 1) for j in range(count)]
            given = made
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(given, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, 10] of pictures [B, 1, 8, 8]."""
        return self.head(self.body(self.stem(x)).mean((2, 3)))


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.norm, self.last = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        samples, tokens, _ = x.shape
        y = self.norm(x)
        q, k, v = (f(y).view(samples, tokens, self.heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(samples, tokens, -1)
        x = x + self.out(y)
        return x + self.mlp(self.last(x))


class Transformer(nn.Module):
    """Twelve layers over the rows of a picture, 2.4 million parameters."""

    def __init__(self, width: int = 128, layers: int = 12, heads: int = 4):
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.layers = nn.Sequential(*[_Layer(width, heads) for _ in range(layers)])
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, 10] of pictures [B, 1, 8, 8]."""
        return self.head(self.layers(self.embed(x.flatten(0, 1))).mean(1))


def digits_classifier(name: str, model: nn.Module, steps: int, rate: float = 1e-3) -> Subject:
    """Train a classifier of the 8x8 digits."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(digits.target)
    parts = {"train": slice(0, 1197), "validation": slice(1197, 1497), "test": slice(1497, None)}
    train = [(x[i : i + 64], y[i : i + 64]) for i in range(0, 1152, 64)]

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    def score(model: nn.Module, split: str) -> float:
        return (model(x[parts[split]]).argmax(1) == y[parts[split]]).float().mean().item()

    _train(model, loss, train, steps, rate)
    functions = {"example": x[:1], "loss": loss, "batches": train, "score": score, "floor": 0.1}
    heads: dict[nn.Module, int] = {}
    for module in model.modules():
        if isinstance(module, _Layer):
            heads |= dict.fromkeys((module.q, module.k, module.v), module.heads)
    return Subject(name, model, functions, heads, [model.get_submodule("head")])


def autoencoder(steps: int) -> Subject:
    """Train the paper's autoencoder of 2.3 million parameters on MNIST."""
    images = LOADERS["mnist"]()
    pixels = {s: getattr(images, s)[:4096].float() / images.white for s in ("train", "validation", "test")}
    model = make_target("autoencoder", data="mnist", latent_dim=256).build(torch.Generator().manual_seed(0))
    train = list(pixels["train"].split(128))
    mean = pixels["train"].mean(0)

    def loss(model: nn.Module, batch: Tensor) -> Tensor:
        return F.mse_loss(model(batch), batch)

    def score(model: nn.Module, split: str) -> float:
        return -loss(model, pixels[split]).item()

    floor = -F.mse_loss(mean.expand_as(pixels["validation"]), pixels["validation"]).item()
    _train(model, loss, train, steps, 1e-3)
    functions = {"example": pixels["train"][:1], "loss": loss, "batches": train, "score": score, "floor": floor}
    last = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    return Subject("autoencoder, 2.3 M", model, functions, {}, [last])


def _train(model: nn.Module, loss: Callable[..., Tensor], batches: Sequence[Any], steps: int, rate: float) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    model.train()
    for step in range(steps):
        optimizer.zero_grad()
        loss(model, batches[step % len(batches)]).backward()
        optimizer.step()
    model.eval()


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "autoencoder": lambda: autoencoder(300),
    "resnet-18": lambda: digits_classifier("ResNet-18 shape, 11.2 M", ResNet(), 60),
    "transformer": lambda: digits_classifier("transformer, 12 layers, 2.4 M", Transformer(), 200),
    "classifier": lambda: digits_classifier("digits classifier with residuals", ResNet(24, (2, 2)), 200),
}
"""Name -> the network, trained when it is asked for."""
