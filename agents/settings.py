"""Algorithms and their hyperparameters, in YAML files of rl-zoo's format, read without its `eval`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import yaml
from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from prune_env.agents.action_scales import ACTION_SCALES
from prune_env.agents.algorithms import LOADABLE, loadable
from prune_env.agents.policy_classes import group_policy
from prune_env.open_sets import find

ALGORITHMS: dict[str, type[BaseAlgorithm] | str] = {
    "ppo": PPO,
    "sac": SAC,
    "td3": TD3,
    "ddpg": DDPG,
    "a2c": A2C,
    **{name: LOADABLE[name] for name in ("tqc", "trpo", "crossq")},
}
"""Name -> class, or module and class of sb3-contrib, an extra: imported when it is asked for."""
FOR_RL_ZOO = ("env_wrapper", "callback")
"""Keys of the files that rl-zoo3 reads and `train_agent` does not: it wraps environments and calls back itself."""
POLICIES: dict[str, Callable[[str], str | type[BasePolicy]]] = {
    "MlpPolicy": lambda algo: "MlpPolicy",
    "GroupPolicy": group_policy,
}
"""Name -> (name of the algorithm -> policy network as SB3 takes it)."""


def algorithm(name: str) -> type[BaseAlgorithm]:
    """The SB3 class of an algorithm.

    Raises:
        ValueError: If the name is unknown; the known ones are listed. If it is one of sb3-contrib, which is missing.
    """
    found = find("algorithm", name, ALGORITHMS)
    return loadable(name) if isinstance(found, str) else found


def load_hyperparams(name: str, env_id: str) -> dict[str, Any]:
    """Hyperparameters of an algorithm for an environment id, or the file's defaults; {} without a file.

    What the files hold for rl-zoo3 alone is left out: it wraps environments and calls back by names of classes.
    """
    path = files("prune_env.agents") / "hyperparams" / f"{name}.yml"
    if not path.is_file():
        return {}
    blocks = yaml.safe_load(path.read_text())
    settings = dict(blocks.get(env_id, blocks.get("default", {})))
    listed = [[item] if isinstance(item, str) else item for item in settings.get("env_wrapper", ())]
    wrappers = [name.rpartition(".")[2] for item in listed for name in item]
    for scale, means in ACTION_SCALES.items():
        if means.wrapper in wrappers and scale != "ratio":
            settings["actions"] = scale
    for key in FOR_RL_ZOO:
        settings.pop(key, None)
    if "normalize" in settings:
        settings["normalize"] = bool(settings["normalize"])
    if "policy" in settings:
        path = settings["policy"].rpartition(".")[2]
        settings["policy"] = "GroupPolicy" if path.startswith("Group") else path
    if heuristic := blocks.get("behaviour_cloning", {}).get(env_id):
        settings["behaviour_cloning"] = heuristic
    return settings


def policy_class(name: str, algo: str) -> str | type[BasePolicy]:
    """The policy network of an algorithm by its name, as SB3 takes it.

    Raises:
        ValueError: If the name is unknown; the known ones are listed. If there is none of this name for the algorithm.
    """
    return find("policy network", name, POLICIES)(algo)


def parse_schedule(value: Any) -> Any:
    """Turn rl-zoo's "lin_3e-4" into a schedule that decays linearly to zero; other values are returned unchanged."""
    if isinstance(value, str) and value.startswith("lin_"):
        return linear_schedule(float(value.removeprefix("lin_")))
    return value


def linear_schedule(start: float) -> Callable[[float], float]:
    """From `start` to zero as the remaining progress goes from 1 to 0."""
    return lambda remaining: remaining * start
