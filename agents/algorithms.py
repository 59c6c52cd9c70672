"""SB3's algorithms by name, those of sb3-contrib among them, and which of them a zip is from."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

LOADABLE: dict[str, str] = {
    **{name.lower(): f"stable_baselines3.{name}" for name in ("PPO", "A2C", "SAC", "TD3", "DDPG")},
    **{name.lower(): f"sb3_contrib.{name}" for name in ("TQC", "TRPO", "CrossQ", "ARS")},
    "recurrent_ppo": "sb3_contrib.RecurrentPPO",
}
"""Algorithms whose agents can be loaded: name -> module and class. Those of sb3-contrib need that package."""

# Entries of the zip's JSON that tell algorithms apart, which SB3 does not name in it; the first that has all of them.
_SIGNS: dict[str, tuple[str, ...]] = {
    "tqc": ("top_quantiles_to_drop_per_net",),
    "crossq": ("target_entropy", "policy_delay"),
    "sac": ("target_entropy",),
    "td3": ("policy_delay",),  # a DDPG too: it is a TD3 with other constants
    "trpo": ("cg_max_steps",),
    "ars": ("n_delta",),
    "ppo": ("clip_range", "n_epochs"),
    "a2c": ("gae_lambda", "n_steps"),
}


def loadable(name: str) -> type[BaseAlgorithm]:
    """The class of an algorithm.

    Raises:
        ValueError: If sb3-contrib is needed and not installed.
    """
    module, _, title = LOADABLE[name].rpartition(".")
    try:
        return getattr(import_module(module), title)
    except ImportError as error:
        raise ValueError(f"{title} needs sb3-contrib ({error}): pip install 'prune_env[contrib]'") from error


def algorithm_of(model: BaseAlgorithm) -> str:
    """The name of a model's algorithm, or of the one that its class derives from.

    Raises:
        ValueError: If it is none of those that can be loaded.
    """
    names = {path.rpartition(".")[2]: name for name, path in LOADABLE.items()}
    for base in type(model).__mro__:
        if base.__name__ in names:
            return names[base.__name__]
    raise ValueError(f"agents of {type(model).__name__} cannot be loaded; those that can: {', '.join(LOADABLE)}")


def algorithm_of_data(data: Mapping[str, Any]) -> str:
    """The name of the algorithm that wrote this JSON of a zip.

    Raises:
        ValueError: If it is none of those that can be loaded.
    """
    for name, signs in _SIGNS.items():
        if all(sign in data for sign in signs):
            recurrent = name == "ppo" and data.get("rollout_buffer_class", "") is None
            return "recurrent_ppo" if recurrent else name
    raise ValueError(f"it is from no algorithm of {', '.join(LOADABLE)}")
