"""Hyperparameters against the constructor that takes them, and the algorithm made from them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import numpy as np
import yaml
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import ActionNoise, NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from prune_env.agents.action_scales import ACTION_SCALES
from prune_env.agents.settings import algorithm, parse_schedule, policy_class
from prune_env.open_sets import UnknownOptionError, find
from prune_env.validation import Range

NOISES: Mapping[str, type[NormalActionNoise | OrnsteinUhlenbeckActionNoise]] = {
    "normal": NormalActionNoise,
    "ornstein-uhlenbeck": OrnsteinUhlenbeckActionNoise,
}
"""Values of `noise_type`, as in rl-zoo."""
# What stands beside the constructor's arguments in a file, and its types.
BESIDE: Mapping[str, Any] = {
    "n_envs": int,
    "n_timesteps": int,
    "normalize": bool,
    "behaviour_cloning": str | None,
    "actions": str,
    "noise_type": str,
    "noise_std": float,
}
# Arguments of a constructor that are no hyperparameters: `train_agent` gives them, or nobody can in JSON.
_GIVEN = {"self", "env", "seed", "device", "tensorboard_log", "verbose", "_init_setup_model", "action_noise"}
_RATE = Range(0, ends="()")
_SHARE = Range(0, 1, ends="[]")
RANGES: Mapping[str, Range] = {
    "batch_size": Range(1),
    "buffer_size": Range(1),
    "clip_range": _RATE,
    "gae_lambda": _SHARE,
    "gamma": _SHARE,
    "gradient_steps": Range(-1),
    "learning_rate": Range(0),
    "learning_starts": Range(0),
    "max_grad_norm": _RATE,
    "n_critic_updates": Range(1),
    "n_envs": Range(1),
    "n_epochs": Range(1),
    "n_steps": Range(1),
    "n_timesteps": Range(1),
    "noise_std": Range(0),
    "policy_delay": Range(1),
    "stats_window_size": Range(1),
    "sub_sampling_factor": Range(1),
    "target_kl": _RATE,
    "target_update_interval": Range(1),
    "tau": _SHARE,
    "top_quantiles_to_drop_per_net": Range(0),
    "train_freq": Range(1),
}
"""What is allowed, whatever algorithm takes it; SB3 trains with some of the rest without a word."""
# What SB3's constructors raise, PyTorch's among it.
_REFUSALS = (ValueError, TypeError, AssertionError, KeyError, IndexError, RuntimeError, AttributeError)


def known_hyperparams(algo: str) -> list[str]:
    """Names of the hyperparameters of an algorithm: what its constructor takes, and what stands beside it."""
    return [name for name in _parameters(algo) if name not in _GIVEN] + list(BESIDE)


def check_hyperparams(algo: str, hyperparams: Mapping[str, Any]) -> None:
    """Check names, types and ranges against an algorithm's constructor.

    Raises:
        ValueError: If the algorithm is unknown, has no such hyperparameter, or a value is not of its type or range.
    """
    known, parameters = known_hyperparams(algo), _parameters(algo)
    for name, value in hyperparams.items():
        if name not in known:
            raise UnknownOptionError.of(f"hyperparameters of {algo}", name, known)
        annotation = BESIDE[name] if name in BESIDE else parameters[name].annotation
        _check(f"{algo}'s {name}", value, annotation, RANGES.get(name))
    policy = policy_class(hyperparams.get("policy", "MlpPolicy"), algo)
    if hyperparams.get("behaviour_cloning") and policy == "MlpPolicy":
        raise ValueError("behaviour_cloning warm-starts a GroupPolicy only; give the hyperparameter policy=GroupPolicy")
    find("actions", hyperparams.get("actions", "ratio"), ACTION_SCALES)
    if ("noise_type" in hyperparams) != ("noise_std" in hyperparams):
        raise ValueError("noise_type and noise_std belong together, e.g. noise_type=normal noise_std=0.1")
    if "noise_type" in hyperparams:
        find("noise_type", hyperparams["noise_type"], NOISES)
        if "action_noise" not in parameters:
            raise ValueError(f"{algo} takes no action noise; leave out noise_type and noise_std")


def read_hyperparams(path: Path) -> dict[str, Any]:
    """Hyperparameters in a YAML file, such as `tune` writes: one name a line.

    Raises:
        ValueError: If it is no YAML, or no mapping from names.
        OSError: If it cannot be read.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is no file of hyperparameters: it is not YAML ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"{path} is no file of hyperparameters: it must hold lines NAME: VALUE")
    return content


def rounds_per_update(algo: str, hyperparams: Mapping[str, Any], n_envs: int) -> int:
    """Rounds in all environments together between two updates: training ends at a multiple of them."""
    name = "n_steps" if issubclass(algorithm(algo), OnPolicyAlgorithm) else "train_freq"
    steps = hyperparams.get(name, _parameters(algo)[name].default)
    if not isinstance(steps, int):
        steps, unit = steps
        return n_envs * steps if unit == "step" else 1  # an episode may end at any round
    return n_envs * steps


def make_algorithm(
    algo: str, venv: VecEnv, hyperparams: Mapping[str, Any], *, seed: int, tensorboard_log: str
) -> BaseAlgorithm:
    """Make an algorithm from checked hyperparameters.

    Raises:
        ValueError: If its constructor refuses them.
    """
    own = {name: value for name, value in hyperparams.items() if name not in BESIDE}
    arguments = {name: parse_schedule(value) for name, value in deepcopy(own).items()}  # SB3 writes into policy_kwargs
    policy = policy_class(arguments.pop("policy", "MlpPolicy"), algo)
    if isinstance(frequency := arguments.get("train_freq"), list):
        arguments["train_freq"] = tuple(frequency)
    if "noise_type" in hyperparams:
        arguments["action_noise"] = _noise(venv, hyperparams["noise_type"], hyperparams["noise_std"])
    make: Callable[..., BaseAlgorithm] = algorithm(algo)
    try:
        return make(policy, venv, seed=seed, device="cpu", tensorboard_log=tensorboard_log, **arguments)
    except _REFUSALS as error:
        raise ValueError(f"{algo} cannot be made with these hyperparameters ({error}): {dict(hyperparams)}") from error


def _noise(venv: VecEnv, kind: str, std: float) -> ActionNoise:
    groups = venv.action_space.shape[0]  # type: ignore[index]
    return find("noise_type", kind, NOISES)(np.zeros(groups), std * np.ones(groups))


def _parameters(algo: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(algorithm(algo).__init__).parameters


# ---------------------------------------------------------------------- types
def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_frequency(value: Any) -> bool:
    pair = isinstance(value, (list, tuple)) and len(value) == 2
    return pair and _is_whole(value[0]) and value[0] >= 1 and value[1] in ("step", "episode")


def _falling_from(value: Any) -> float | None:
    """Where a schedule "lin_NUMBER" starts; None for anything else."""
    if not (isinstance(value, str) and value.startswith("lin_")):
        return None
    try:
        return float(value.removeprefix("lin_"))
    except ValueError:
        return None


# Types in signatures -> whether a value of a file is one, and what it is called. Nothing in a file is of another type.
_FITS: Mapping[Any, tuple[Callable[[Any], bool], str]] = {
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (_is_whole, "a whole number"),
    float: (_is_number, "a number"),
    str: (lambda value: isinstance(value, str), "a word"),
    NoneType: (lambda value: value is None, "null"),
    dict: (lambda value: isinstance(value, dict) and all(isinstance(name, str) for name in value), "a dict"),
    tuple: (_is_frequency, '[NUMBER, "step" or "episode"]'),
    get_origin(Callable[[float], float]): (lambda value: _falling_from(value) is not None, "a schedule lin_NUMBER"),
}


def _check(name: str, value: Any, annotation: Any, allowed: Range | None) -> None:
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    possible = [found for kind in kinds if (found := _FITS.get(get_origin(kind) or kind))]
    number = value if _is_number(value) else _falling_from(value)
    right = any(fits(value) for fits, _ in possible)
    if not right or (allowed is not None and number is not None and number not in allowed):
        called = " or ".join(said for _, said in possible)
        raise ValueError(f"{name} must be {called}{f', in {allowed}' if allowed else ''}; got {value!r}")
