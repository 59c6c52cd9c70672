"""Tell the operators that a network runs from those of the code that calls it."""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

_OURS = "prune_env.groups"


class Depth:
    """Whether the network is at work, or the code that calls it.

    The network is at work while a module is called, and while one of its methods runs that is no `forward`: an entry
    point such as `model.rollout(x)`, or a function that a module holds.
    """

    def __init__(self, model: nn.Module) -> None:
        self._calls = 0
        self._code = _methods(model)

    @property
    def inside(self) -> bool:
        """Whether the network is at work; it may walk the stack, so ask only where it matters."""
        return self._calls > 0 or self._in_method()

    def _in_method(self) -> bool:
        frame: types.FrameType | None = sys._getframe(1)
        outside = False  # of the modes that see the operator
        while frame is not None:
            name = str(frame.f_globals.get("__name__", ""))
            ours = name.startswith(_OURS)
            if ours and outside:
                return False  # this is what runs the trace
            if not ours and frame.f_code in self._code:
                return True
            outside |= not ours and not name.startswith("torch.")
            frame = frame.f_back
        return False

    def enter(self, *_: Any) -> None:
        """A module is called."""
        self._calls += 1

    def leave(self, *_: Any) -> None:
        """A module returns."""
        self._calls -= 1


@contextmanager
def counted_depth(model: nn.Module) -> Iterator[Depth]:
    """Count calls of the model's modules while the context lasts."""
    depth = Depth(model)
    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(module.register_forward_pre_hook(depth.enter).remove)
            stack.callback(module.register_forward_hook(depth.leave, always_call=True).remove)
        yield depth


def _methods(model: nn.Module) -> set[types.CodeType]:
    """Code of all methods of a model's modules, and of functions that they hold."""
    kinds = {kind for module in model.modules() for kind in type(module).__mro__} - {nn.Module, object}
    members = [member for kind in kinds for member in vars(kind).values()]
    members += [member for module in model.modules() for member in vars(module).values()]
    functions = [inspect.unwrap(f) for member in members if isinstance(f := _function(member), types.FunctionType)]
    return {f.__code__ for f in functions if isinstance(f, types.FunctionType)}


def _function(member: Any) -> Any:
    if isinstance(member, property):
        return member.fget
    if isinstance(member, functools.cached_property):
        return member.func
    return member.__func__ if isinstance(member, (staticmethod, classmethod)) else member
