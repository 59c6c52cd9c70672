"""Targets by name: a plain dict, filled by this package, by `register_target` and by installed packages."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from prune_env.targets.base import Target

_TARGETS: dict[str, Callable[..., Target]] = {}


def register_target(name: str, factory: Callable[..., Target]) -> None:
    """Make a target known under `name`; `factory(**options)` (usually the class itself) makes it.

    Raises:
        ValueError: If the name is taken by another factory.
    """
    if _TARGETS.get(name, factory) is not factory:
        raise ValueError(f"target {name!r} is already registered; choose another name")
    _TARGETS[name] = factory


def known_targets() -> dict[str, Callable[..., Target]]:
    """All registered targets, and those that installed packages announce under `prune_env.targets`."""
    for entry in entry_points(group="prune_env.targets"):
        if entry.name not in _TARGETS:
            _TARGETS[entry.name] = entry.load()
    return dict(sorted(_TARGETS.items()))


def make_target(name: str, **options: Any) -> Target:
    """Make a target by name.

    Raises:
        ValueError: If the name is unknown (the known ones are listed) or an option does not fit.
    """
    targets = known_targets()
    if name not in targets:
        raise ValueError(f"unknown target {name!r}; known targets: {', '.join(targets)}")
    try:
        return targets[name](**options)
    except TypeError as error:
        raise ValueError(f"target {name!r} cannot be made with options {options}: {error}") from error
