"""Targets by name: a plain dict, filled by this package, by `register_target` and by installed packages."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from prune_env.open_sets import UnknownOptionError, add, find
from prune_env.targets.base import Target

_TARGETS: dict[str, Callable[..., Target]] = {}


def register_target(name: str, factory: Callable[..., Target]) -> None:
    """Make a target known under `name`; `factory(**options)` (usually the class itself) makes it.

    Raises:
        ValueError: If the name is taken by another factory.
    """
    add("target", name, factory, _TARGETS)


def known_targets() -> dict[str, Callable[..., Target]]:
    """All registered targets, and those that installed packages announce under `prune_env.targets`."""
    for entry in entry_points(group="prune_env.targets"):
        if entry.name not in _TARGETS:
            _TARGETS[entry.name] = entry.load()
    return dict(sorted(_TARGETS.items()))


def make_target(name: str, **options: Any) -> Target:
    """Make a target by name.

    Raises:
        UnknownOptionError: If the target has no such option; a TypeError and a ValueError.
        ValueError: If the name is unknown (the known ones are listed) or the value of an option does not fit.
    """
    factory = find("target", name, known_targets())
    known = _options_of(factory)
    if known is not None and (wrong := [option for option in options if option not in known]):
        raise UnknownOptionError.of(f"target {name!r}", wrong[0], known)
    try:
        return factory(**options)
    except UnknownOptionError:
        raise
    except TypeError as error:
        raise ValueError(f"target {name!r} cannot be made with options {options}: {error}") from error


def default_options(name: str) -> dict[str, Any]:
    """Default values of a target's options, where they have one."""
    try:
        parameters = inspect.signature(find("target", name, known_targets())).parameters.values()
    except ValueError:
        return {}
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _options_of(factory: Callable[..., Target]) -> list[str] | None:
    """Names of the options; None if any may be given, or if the factory does not tell."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # a factory that is not written in Python
        return None
    return None if any(p.kind is p.VAR_KEYWORD for p in parameters) else [p.name for p in parameters]
