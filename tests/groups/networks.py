"""Small networks put together from a few layers and a lambda, and what tests do with them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Build = Callable[[], Any]


class Network(nn.Module):
    """Components, and a forward function over them."""

    def __init__(self, forward: Callable[..., Any], **children: Any):
        super().__init__()
        self._forward = forward
        for name, child in children.items():
            setattr(self, name, child)

    def forward(self, *inputs: Tensor) -> Any:
        return self._forward(self, *inputs)


IO = {"input of a": "external input", "b": "output of the network"}


@dataclass(frozen=True)
class Case:
    """A construct and its groups.

    Attributes:
        build: Makes a fresh network.
        inputs: Shapes of its inputs.
        prunable: Name -> "channels members..." of every prunable group.
        locked: Name -> part of the reason of every locked group.
        exact: Whether the cut network computes what the dense one does with the removed channels' weights at zero.
    """

    name: str
    build: Build
    inputs: tuple[tuple[int, ...], ...]
    prunable: dict[str, str]
    locked: dict[str, str] = field(default_factory=lambda: IO)
    exact: bool = True

    def trace(self, model: nn.Module) -> Any:
        return model(*(torch.zeros(shape) for shape in self.inputs))

    def components(self) -> tuple[str, ...]:
        model = self.build()
        return tuple(name for name in vars(model)["_modules"] | vars(model)["_parameters"])


def net(forward: Callable[..., Any], **children: Build) -> Build:
    return lambda: Network(forward, **{name: child() for name, child in children.items()})


def lin(a: int, b: int) -> Build:
    return lambda: nn.Linear(a, b)


def conv(a: int, b: int, **options: Any) -> Build:
    return lambda: nn.Conv2d(a, b, 3, padding=1, **options)


def seq(*layers: Build) -> Build:
    return lambda: nn.Sequential(*(layer() for layer in layers))


def vec(*shape: int) -> Build:
    return lambda: nn.Parameter(torch.randn(shape))


def of(kind: type, *arguments: Any, **options: Any) -> Build:
    return lambda: kind(*arguments, **options)


FLAT, IMAGE, TIME = ((2, 4),), ((2, 2, 5, 5),), ((2, 5, 4),)


def trained(case: Case, seed: int = 0) -> nn.Module:
    """A network of the case whose weights and statistics are no special values."""
    torch.manual_seed(seed)
    model = case.build()
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(0.5 + torch.rand_like(tensor) if (tensor > 0).all() else 0.5 * torch.randn_like(tensor))
    return model.eval()


def random_inputs(case: Case, seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    indices = "embedding" in case.name
    return [
        torch.randint(0, 7, shape, generator=generator) if indices else torch.randn(shape, generator=generator)
        for shape in case.inputs
    ]


def masked(model: nn.Module, grouping: Any, keep: Tensor) -> nn.Module:
    """A copy with all weights of the removed channels at zero; `keep` is over the dense channels."""
    twin = copy.deepcopy(model)
    parameters = dict(twin.named_parameters())
    offset = 0
    with torch.no_grad():
        for group in grouping:
            gone = ~keep[offset : offset + group.channels].numpy()
            offset += group.channels
            for s in group.slices:
                if s.tensor in parameters:
                    parameters[s.tensor].index_fill_(s.dim, torch.from_numpy(s.positions[gone].ravel()), 0.0)
    return twin
