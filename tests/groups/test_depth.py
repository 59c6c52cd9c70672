from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from prune_env.groups.tracing.depth import counted_depth


class Entry(nn.Module):
    """Ways into a network that are no `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.held = lambda x: x + 1

    def method(self, x: Tensor) -> Tensor:
        return x + 1

    @torch.no_grad()
    def decorated(self, x: Tensor) -> Tensor:
        return x + 1

    @staticmethod
    def static(x: Tensor) -> Tensor:
        return x + 1

    @property
    def one(self) -> Tensor:
        return torch.zeros(2) + 1

    @functools.cached_property
    def cached(self) -> Tensor:
        return torch.zeros(2) + 1

    def nested(self, x: Tensor) -> Tensor:
        return (lambda: [x + 1 for _ in range(1)])()[0]

    def forward(self, x: Tensor) -> Tensor:
        return x + 1


@torch.no_grad()
def by_the_caller(model: nn.Module, x: Tensor) -> Tensor:
    return x + 1


@pytest.mark.parametrize(
    ("call", "inside"),
    [
        (lambda m, x: m(x), True),
        (lambda m, x: m.method(x), True),
        (lambda m, x: m.decorated(x), True),
        (lambda m, x: m.static(x), True),
        (lambda m, x: m.one, True),
        (lambda m, x: m.cached, True),
        (lambda m, x: m.nested(x), True),
        (lambda m, x: m.held(x), True),
        (lambda m, x: x + 1, False),
        (by_the_caller, False),
    ],
    ids=["call", "method", "decorated", "static", "property", "cached", "nested", "held", "caller", "function"],
)
def test_who_runs_an_operator(call: Any, inside: bool) -> None:
    seen: list[bool] = []

    class Sees(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func._schema.name == "aten::add":
                seen.append(depth.inside)
            return func(*args, **(kwargs or {}))

    model = Entry()
    with counted_depth(model) as depth, Sees():
        call(model, torch.ones(2))
    assert seen == [inside]
    assert not model._forward_hooks
