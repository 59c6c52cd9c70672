"""Public models with random weights in small configurations: how each is made, and how a sample runs through it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

Trace = Callable[[nn.Module], Any]
Make = Callable[[], tuple[nn.Module, Trace]]


@dataclass(frozen=True)
class Entry:
    """One public model.

    Attributes:
        library: The package that it comes from.
        name: What it is called there.
        make: Builds it, with a function that runs one sample through it.
        least_share: The share of parameters in prunable groups that it must reach.
    """

    library: str
    name: str
    make: Make
    least_share: float = 0.0

    @property
    def key(self) -> str:
        """Library and name."""
        return f"{self.library}:{self.name}"


FILES = {
    "timm": "zoo_timm",
    "vit-pytorch": "zoo_vit_pytorch",
    "segmentation": "zoo_segmentation",
    "diffusers": "zoo_diffusers",
    "transformers": "zoo_transformers",
    "SB3": "zoo_policies",
    "sb3-contrib": "zoo_policies",
    "torch_geometric": "zoo_graphs",
    "world models": "zoo_written_out",
    "audio": "zoo_written_out",
}
"""Which file adds the models of a library; each is imported when it is asked for, as the packages take long."""

ENTRIES: dict[str, Entry] = {}


def add(library: str, name: str, make: Make, least_share: float = 0.0) -> None:
    """Add a model.

    Raises:
        ValueError: If there is one of this name.
    """
    entry = Entry(library, name, make, least_share)
    if entry.key in ENTRIES:
        raise ValueError(f"the model {entry.key!r} is there already")
    ENTRIES[entry.key] = entry


def build(key: str) -> tuple[nn.Module, Trace]:
    """A model with random weights, the same at every call: no layer starts at zero, no statistics at 0 and 1."""
    importlib.import_module(FILES[key.partition(":")[0]])
    torch.manual_seed(0)
    model, trace = ENTRIES[key].make()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                scale = 0.1 if parameter.dim() < 2 or parameter.abs().sum() > 0 else parameter[0].numel() ** -0.5
                parameter += (
                    scale
                    * parameter.std().clamp(0.2, 1).nan_to_num(0.2)
                    * torch.randn(parameter.shape, generator=generator)
                )
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer += 0.1 * torch.randn(buffer.shape, generator=generator)
            elif name.endswith("running_var"):
                buffer *= 0.5 + torch.rand(buffer.shape, generator=generator)
    return model.eval(), trace


def names() -> list[str]:
    """All models."""
    for name in dict.fromkeys(FILES.values()):
        importlib.import_module(name)
    return list(ENTRIES)


def made(model: Callable[..., nn.Module], *shape: int, **options: Any) -> tuple[nn.Module, Trace]:
    """A model that takes one tensor of this shape."""
    return model(**options), on_input(*shape)


def on_input(*shape: int) -> Trace:
    """Runs one tensor of random numbers through `forward`, in the precision of the model."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(2))

    def trace(model: nn.Module) -> Any:
        return model(x.to(precision_of(model)))

    return trace


def precision_of(model: nn.Module) -> torch.dtype:
    """The data type of the parameters."""
    return next(p.dtype for p in model.parameters() if p.is_floating_point())


def tensors(outputs: Any) -> Iterator[torch.Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    if isinstance(outputs, torch.Tensor):
        yield outputs
    elif isinstance(outputs, dict):
        for value in outputs.values():
            yield from tensors(value)
    elif isinstance(outputs, (tuple, list)):
        for value in outputs:
            yield from tensors(value)
