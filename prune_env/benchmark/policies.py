"""Policies by name: found through entry points, so that this package's own and anybody's go through the same door."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from prune_env.envs import PruningEnv


class Policy(Protocol):
    """Everything that prunes. Privileged ones also have `attach(view)`, random ones `seed(seed)`.

    Attributes:
        privileged: Whether it sees or tries the network behind the observation.
        learned: Whether it was trained.
    """

    privileged: bool
    learned: bool

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """Ratios in the environment's own units, and the next state."""


Factory = Callable[[PruningEnv], Policy]
_REGISTERED: dict[str, Factory] = {}


def register_policy(name: str, factory: Factory) -> None:
    """Make a policy known under `name` in this process; `factory(env)` makes it.

    A benchmark with several jobs finds it only if importing your main module registers it; an entry point always works.

    Raises:
        ValueError: If the name is taken by another factory.
    """
    if known_policies().get(name, factory) is not factory:
        raise ValueError(f"policy {name!r} is already registered; choose another name")
    _REGISTERED[name] = factory


def known_policies() -> dict[str, Factory | EntryPoint]:
    """Policies by name: registered here, and announced by installed packages under `prune_env.policies`."""
    announced: dict[str, Factory | EntryPoint] = {
        entry.name: entry for entry in entry_points(group="prune_env.policies")
    }
    return dict(sorted((announced | _REGISTERED).items()))


def find_policy(name: str) -> Factory:
    """What makes a policy for an environment, by name or, for a saved one, by the path of its file.

    Raises:
        ValueError: If neither a policy of that name nor a loadable file exists; the known names are listed.
    """
    policies = known_policies()
    if name in policies:
        factory = policies[name]
        return factory.load() if isinstance(factory, EntryPoint) else factory
    path = Path(name)
    loaders = {f".{entry.name}": entry for entry in entry_points(group="prune_env.policy_files")}
    if path.suffix in loaders:
        if not path.is_file():
            raise ValueError(f"no file {name!r}: a saved policy competes by the path of its file")
        return partial(loaders[path.suffix].load(), path)
    raise ValueError(
        f"unknown policy {name!r}; known policies: {', '.join(policies) or '(none: is the package installed?)'}; "
        f"or the path of a saved one ({', '.join(loaders)})"
    )


def make_policy(name: str, env: PruningEnv) -> Policy:
    """Make a policy for an environment, by name or, for a saved one, by the path of its file.

    Raises:
        ValueError: If there is no such policy, or it does not fit the environment.
    """
    return find_policy(name)(env)


def policy_title(name: str) -> str:
    """What tables and plots call a policy: its name, or for a saved one the folder that it lies in."""
    path = Path(name)
    return path.parent.name or path.stem if path.suffix and len(path.parts) > 1 else name
