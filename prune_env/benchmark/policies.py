"""Policies by name, with options: built-in and third-party policies are discovered alike, through entry points."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import entry_points
from typing import Any, Protocol

import numpy as np

from prune_env.envs import PruningEnv
from prune_env.open_sets import add, join_options, split_options, unknown
from prune_env.storage import expanded


class Policy(Protocol):
    """What chooses pruning ratios, with the `predict` of a Stable-Baselines3 model.

    Privileged policies also have `attach(view)`, which is called before every action; random ones `seed(seed)`; learned
    ones may have `training`, an `AgentTraining`, which the report shows.

    Attributes:
        privileged: Whether it sees the network behind the observation or scores trial cuts on it.
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


Factory = Callable[..., Policy]
"""Makes a policy for an environment: `factory(env, **options)`."""

_REGISTERED: dict[str, Factory] = {}


def register_policy(name: str, factory: Factory) -> None:
    """Make a policy known under `name` in this process; `factory(env, **options)` makes it.

    A benchmark with several jobs finds it only if importing your main module registers it; an entry point always works.

    Raises:
        ValueError: If the name is taken by another factory.
    """
    add("policy", name, factory, known_policies())
    _REGISTERED[name] = factory


def known_policies() -> dict[str, Factory]:
    """Policies by name: registered here, and announced by installed packages under `prune_env.policies`.

    An entry point leads to a factory, which has the entry's name, or to a dict from names to factories.
    """
    announced: dict[str, Factory] = {}
    for entry in entry_points(group="prune_env.policies"):
        found = entry.load()
        announced |= found if isinstance(found, Mapping) else {entry.name: found}
    return dict(sorted((announced | _REGISTERED).items()))


def every_policy() -> tuple[str, ...]:
    """Names of all known policies that need no options, in alphabetical order."""
    return tuple(
        name
        for name, factory in known_policies().items()
        if all(
            p.default is not p.empty or p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
            for p in list(inspect.signature(factory).parameters.values())[1:]
        )
    )


def find_policy(name: str) -> Factory:
    """What makes a policy for an environment.

    Args:
        name: Name of a policy, with options if it takes some (`cma-es:evaluations=200`), or the path of a saved one.

    Raises:
        ValueError: If there is no such policy or file (the known names are listed), or it does not take an option.
    """
    policies = known_policies()
    short, options = (name, {}) if expanded(name).is_file() else split_options(name)
    if short in policies:
        _check_options(short, policies[short], options)
        return partial(policies[short], **options) if options else policies[short]
    path = expanded(name)
    loaders = {f".{entry.name}": entry for entry in entry_points(group="prune_env.policy_files")}
    if path.suffix in loaders:
        if not path.is_file():
            raise ValueError(f"no file {name!r}: a saved policy competes by the path of its file")
        return partial(loaders[path.suffix].load(), path)
    raise ValueError(f"{unknown('policy', short, policies)}; or give the path of a saved one ({', '.join(loaders)})")


def _check_options(name: str, factory: Factory, options: Mapping[str, Any]) -> None:
    parameters = list(inspect.signature(factory).parameters.values())[1:]  # the first is the environment
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters]
    if wrong := [option for option in options if option not in known]:
        raise ValueError(f"policy {name!r} has no option {wrong[0]!r}; its options: {', '.join(known) or 'none'}")


def make_policy(name: str, env: PruningEnv) -> Policy:
    """Make a policy for an environment, by name or by the path of a saved one; see `find_policy`.

    Raises:
        ValueError: If there is no such policy, an option is wrong, or it does not fit the environment.
    """
    return find_policy(name)(env)


def policy_title(name: str) -> str:
    """What tables and plots call a policy: its name, or for a saved one the folder that it lies in."""
    if name.partition(":")[0] in known_policies():
        return name  # an option may be the path of a saved one
    path = expanded(name)
    return path.parent.name or path.stem if path.suffix and len(path.parts) > 1 else name


def spelled_out(name: str) -> str:
    """The name of a policy with options from a file (`gradient:@best.yaml`) written out; other names as they are.

    Records then say what a policy was, and a worker needs no file.

    Raises:
        ValueError: If the file holds no options.
        OSError: If it cannot be read.
    """
    if ":@" not in name and ",@" not in name:
        return name
    return join_options(*split_options(name))
