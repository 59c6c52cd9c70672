"""Where the tensors of a model lie in memory, and which it holds beside its parameters and buffers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

REGISTERS = ("_parameters", "_buffers", "_modules")
"""Attributes of a module that hold its parameters, buffers and children."""


def place_of(tensor: Tensor) -> tuple[Any, ...] | None:
    """Where a tensor lies in memory and how; None for one that has no memory of its own kind."""
    if tensor.layout != torch.strided or tensor.device.type == "meta" or not tensor.numel():
        return None
    try:
        address = tensor.data_ptr()
    except RuntimeError:  # a tensor without storage
        return None
    return address, tensor.dtype, tensor.device, tuple(tensor.shape), tensor.stride(), tensor.is_conj()


def overlapping(tensors: Iterable[tuple[str, Tensor]]) -> set[str]:
    """Names of tensors that share a part of their memory with another one, but lie in it in another way."""
    spans: dict[int, list[tuple[int, int, str, Any]]] = {}
    for name, tensor in tensors:
        if (place := place_of(tensor)) is not None:
            reach = sum((n - 1) * abs(s) for n, s in zip(tensor.shape, tensor.stride(), strict=True)) + 1
            start, size = tensor.data_ptr(), tensor.element_size()
            spans.setdefault(tensor.untyped_storage().data_ptr(), []).append((start, start + reach * size, name, place))
    found: set[str] = set()
    for lying in spans.values():
        lying.sort(key=lambda span: span[:2])
        for i, (_, stop, name, place) in enumerate(lying):
            for start, _, other, elsewhere in lying[i + 1 :]:
                if start >= stop:
                    break
                if place != elsewhere:
                    found |= {name, other}
    return found


class Attributes:
    """The attributes of a module as a dictionary that can be copied together with the module."""

    def __init__(self, module: nn.Module):
        self._module = module

    def __getitem__(self, name: str) -> Any:
        return vars(self._module).get(name)

    def __setitem__(self, name: str, value: Any) -> None:
        vars(self._module)[name] = value


def plain_tensors(module: nn.Module) -> Iterator[tuple[str, Any, Any]]:
    """Tensors that one module holds beside its parameters and buffers: (name, what holds it, its key there)."""
    for name, value in list(vars(module).items()):
        if isinstance(value, Tensor):
            yield name, Attributes(module), name
        elif name not in REGISTERS:
            yield from _entries(name, value)


def all_plain_tensors(model: nn.Module) -> Iterator[tuple[str, Any, Any]]:
    """Those of all modules, with their names in the model."""
    for path, module in model.named_modules():
        for name, holder, key in plain_tensors(module):
            yield f"{path}.{name}" if path else name, holder, key


def constants(model: nn.Module) -> Iterator[tuple[str, Any, Any]]:
    """Constant tensors that modules have as plain attributes, each object once: (name, what holds it, its key there).

    Those that are trained, computed from others, or lie in the memory of a parameter or buffer are no constants.
    """
    seen = {id(t) for t in [*model.parameters(), *model.buffers()]}
    places = {place_of(t) for t in [*model.parameters(), *model.buffers()]} - {None}
    for name, holder, key in all_plain_tensors(model):
        tensor = holder[key]
        fixed = tensor.is_leaf and not tensor.requires_grad and tensor.layout == torch.strided
        if isinstance(holder, Attributes) and fixed and id(tensor) not in seen and place_of(tensor) not in places:
            seen.add(id(tensor))
            yield name, holder, key


def _entries(name: str, value: Any) -> Iterator[tuple[str, Any, Any]]:
    if type(value) in (list, tuple, dict, OrderedDict):
        for key, x in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(x, Tensor):
                yield f"{name}[{key!r}]", value, key
            else:
                yield from _entries(f"{name}[{key!r}]", x)
