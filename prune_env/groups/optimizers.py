"""Which dimension of an optimizer's state belongs to which dimension of its parameter, so that the state can be cut.

Most state has the shape of its parameter. Factored statistics (Adafactor, CAME) have fewer dimensions, and for a
square weight their shape does not tell which. So one step is tried on a parameter whose sizes are all different.
Optimizers whose state cannot be cut are refused when the surgeon is made, not at some later step.
"""

from __future__ import annotations

import copy
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from prune_env.groups.slicing import Cuts, select
from prune_env.groups.tracing.randomize import undisturbed

_SIZES = (7, 11, 5, 3, 2, 13)
"""Sizes of the parameter that is tried; all differ, and no state has them by chance."""
_COMPRESSED = ("8bit", "4bit", "fp8", "lowbit")
_COMPRESSING = ("bitsandbytes.", "torchao.")

Axes = tuple[int, ...]
"""For each dimension of a state tensor the dimension of the parameter that it belongs to."""


class StateLayout:
    """How the state of one optimizer follows its parameters.

    Args:
        optimizer: The optimizer; it is left as it was.

    Raises:
        ValueError: If its state cannot be cut.
    """

    def __init__(self, optimizer: Optimizer):
        self._name = type(optimizer).__name__
        self._axes: dict[tuple[str, int], Axes | None] = {}
        _check_kind(optimizer)
        for settings in optimizer.param_groups:
            for like in {p.dim(): p for p in settings["params"] if p.dim()}.values():
                self._learn(optimizer, settings, like)
        for parameter, state in optimizer.state.items():
            if isinstance(parameter, Tensor):
                for key, value in state.items():
                    self._check(key, value, parameter)

    def cut(self, state: dict[str, Any], shape: torch.Size, cuts: Cuts, indices: Sequence[Tensor | None]) -> None:
        """Cut the state of one parameter, which had `shape` before, in place."""
        for key, value in state.items():
            if not isinstance(value, Tensor) or not value.dim():
                continue
            if value.shape == shape:
                state[key] = select(value, cuts, indices, shape)
                continue
            axes = self._axes_of(key, value, shape, cuts)
            here = [(i, number) for dim, number in cuts for i, axis in enumerate(axes) if axis == dim]
            state[key] = select(value, here, indices, torch.Size(shape[axis] for axis in axes))

    def _learn(self, optimizer: Optimizer, settings: dict[str, Any], like: Tensor) -> None:
        """Try a step on a parameter with as many dimensions as `like`."""
        shape = torch.Size(_SIZES[: like.dim()])
        try:
            state = _tried(optimizer, settings, like, shape)
        except Exception:  # it needs more than gradients; shapes must do
            return
        for key, value in state.items():
            if isinstance(value, Tensor) and value.dim():
                axes = [a for a in _possible(value.shape, shape) if len(set(a)) == len(a)]
                self._axes[key, like.dim()] = axes[0] if axes else None
                if not axes and value.numel() > 1:
                    raise ValueError(
                        f"{self._name} cannot be cut: its {key!r} has shape {tuple(value.shape)} for a parameter of "
                        f"shape {tuple(shape)}; use an optimizer whose state has the shape of the parameter"
                    )
            self._check_container(key, value)

    def _check(self, key: str, value: Any, parameter: Tensor) -> None:
        self._check_container(key, value)
        if isinstance(value, Tensor) and value.dim():
            self._axes_of(key, value, parameter.shape, [(d, d) for d in range(parameter.dim())])

    def _check_container(self, key: str, value: Any) -> None:
        if isinstance(value, (list, tuple, dict)) and any(t.numel() > 1 for t in _tensors(value)):
            raise ValueError(
                f"{self._name} cannot be cut: its {key!r} is a {type(value).__name__} of tensors; use an optimizer "
                "whose state has the shape of the parameter"
            )

    def _axes_of(self, key: str, value: Tensor, shape: torch.Size, cuts: Cuts) -> Axes:
        """Dimensions of the parameter that those of a state tensor belong to.

        Raises:
            ValueError: If its shape does not tell.
        """
        possible = list(_possible(value.shape, shape))
        tried = self._axes.get((key, len(shape)))
        if tried in possible:
            return tried
        numbers = dict(cuts)
        if value.dim() == len(shape) and tuple(range(len(shape))) in possible:
            return tuple(range(len(shape)))
        if len({tuple(numbers.get(axis) for axis in axes) for axes in possible}) == 1:
            return possible[0]
        if value.numel() == 1 or not numbers:
            return tuple(range(value.dim()))
        raise ValueError(
            f"{self._name} cannot be cut: its {key!r} has shape {tuple(value.shape)} for a parameter of shape "
            f"{tuple(shape)}, so it cannot be told which dimensions belong together"
        )


def with_inner(optimizers: Sequence[Optimizer]) -> list[Optimizer]:
    """Optimizers and those that they wrap (as SAM and Lookahead do), each once."""
    found: list[Optimizer] = []
    todo = list(optimizers)
    while todo:
        optimizer = todo.pop(0)
        if all(optimizer is not known for known in found):
            found.append(optimizer)
            todo += [x for x in vars(optimizer).values() if isinstance(x, Optimizer)]
    return found


def _possible(part: Sequence[int], shape: Sequence[int]) -> Iterator[Axes]:
    """Dimensions of `shape` that `part` may consist of; a size of 1 is a dimension over which a mean was taken."""
    for axes in combinations(range(len(shape)), len(part)):
        if all(n in (1, shape[axis]) for n, axis in zip(part, axes, strict=True)):
            yield axes


def _tried(optimizer: Optimizer, settings: dict[str, Any], like: Tensor, shape: torch.Size) -> dict[str, Any]:
    """The state of a small parameter after one step."""
    trial = object.__new__(type(optimizer))
    vars(trial).update(vars(optimizer))  # a copy of an optimizer lacks the attributes of its class
    for name, value in vars(optimizer).items():
        if name.startswith("_optimizer_") and isinstance(value, dict):
            vars(trial)[name] = OrderedDict()  # the user's hooks
    parameter = nn.Parameter(torch.full(shape, 0.1, dtype=like.dtype, device=like.device))
    parameter.grad = torch.full(shape, 0.01, dtype=like.dtype, device=like.device)
    own = {key: x.clone() if isinstance(x, Tensor) else copy.copy(x) for key, x in settings.items() if key != "params"}
    trial.param_groups, trial.state = [{**own, "params": [parameter]}], defaultdict(dict)
    with undisturbed():
        type(optimizer).step(trial)
    return dict(trial.state.get(parameter, {}))


def _check_kind(optimizer: Optimizer) -> None:
    kind = type(optimizer)
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError("LBFGS cannot be cut: it keeps one history for all parameters together")
    if kind.__module__.startswith(_COMPRESSING) or any(word in kind.__name__.lower() for word in _COMPRESSED):
        raise ValueError(f"{kind.__name__} cannot be cut: it keeps its state in compressed blocks")
    mine = {id(p) for settings in optimizer.param_groups for p in settings["params"]}
    for name, value in vars(optimizer).items():
        if name in ("param_groups", "state", "defaults") or isinstance(value, Optimizer):
            continue
        if any(id(t) in mine for t in _tensors(value)):
            raise ValueError(
                f"{kind.__name__} cannot be cut: it keeps parameters in its attribute {name!r}, beside its param_groups"
            )


def _tensors(value: Any) -> Iterator[Tensor]:
    """Tensors in nested lists, tuples and dictionaries, among the keys too."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple, set)):
        for x in value:
            yield from _tensors(x)
    elif isinstance(value, dict):
        for key, x in value.items():
            yield from _tensors(key)
            yield from _tensors(x)
