"""A Gymnasium environment for learned pruning of networks made of several components."""

from importlib import import_module
from typing import Any

from prune_env.envs import PruningEnv, register_environments
from prune_env.export import load_pruned
from prune_env.targets import DenseTraining, ModuleTarget, Target, known_targets, make_target, register_target

__version__ = "0.1.0"
__all__ = [
    "DenseTraining",
    "ModuleTarget",
    "PruningEnv",
    "Target",
    "__version__",
    "known_targets",
    "load_pruned",
    "make_target",
    "register_target",
]

register_environments()


def __getattr__(name: str) -> Any:
    """`prune_env.prune`, `prune_env.benchmark` and `prune_env.testing` are imported when they are first asked for."""
    if name in ("benchmark", "testing"):
        return import_module(f"prune_env.{name}")
    if name in ("prune", "Pruned"):
        return getattr(import_module("prune_env.api"), name)
    raise AttributeError(f"module 'prune_env' has no attribute {name!r}")
