"""Search spaces of hyperparameters: for each algorithm a function from an Optuna trial to hyperparameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna import Trial

Settings = Mapping[str, Any]
Space = Callable[["Trial", Settings], dict[str, Any]]
"""From a trial and the hyperparameters that it starts from, n_envs among them, to those that replace them."""


def _on_policy(trial: Trial, settings: Settings, steps: tuple[int, ...]) -> dict[str, Any]:
    width = trial.suggest_categorical("width", (16, 32, 64))
    network = {"hidden": width} if settings.get("policy") == "GroupPolicy" else {"net_arch": [width, width]}
    return {
        "n_steps": trial.suggest_categorical("n_steps", steps),
        "gae_lambda": trial.suggest_float("gae_lambda", 0.8, 1.0),
        "policy_kwargs": {**network, "log_std_init": trial.suggest_float("log_std_init", -2.0, 0.0)},
    }


def _batch_size(trial: Trial, settings: Settings, n_steps: int) -> int:
    """A batch size of which a rollout holds a whole number; SB3 cuts the last batch short otherwise."""
    return max(settings["n_envs"] * n_steps // trial.suggest_categorical("minibatches", (1, 2, 4, 8)), 2)


def ppo(trial: Trial, settings: Settings) -> dict[str, Any]:
    """PPO, actor and critic of one width."""
    shared = _on_policy(trial, settings, (16, 32, 64, 128))
    return {
        **shared,
        "batch_size": _batch_size(trial, settings, shared["n_steps"]),
        "n_epochs": trial.suggest_int("n_epochs", 4, 20),
        "learning_rate": f"lin_{trial.suggest_float('learning_rate', 1e-4, 1e-2, log=True):.4g}",
        "ent_coef": trial.suggest_float("ent_coef", 1e-6, 1e-2, log=True),
        "clip_range": trial.suggest_categorical("clip_range", (0.1, 0.2, 0.3)),
    }


def a2c(trial: Trial, settings: Settings) -> dict[str, Any]:
    """A2C, actor and critic of one width."""
    return {
        **_on_policy(trial, settings, (4, 8, 16, 32)),
        "learning_rate": f"lin_{trial.suggest_float('learning_rate', 1e-4, 1e-2, log=True):.4g}",
        "ent_coef": trial.suggest_float("ent_coef", 1e-6, 1e-2, log=True),
        "normalize_advantage": trial.suggest_categorical("normalize_advantage", (False, True)),
    }


def trpo(trial: Trial, settings: Settings) -> dict[str, Any]:
    """TRPO, actor and critic of one width."""
    shared = _on_policy(trial, settings, (32, 64, 128))
    return {
        **shared,
        "batch_size": _batch_size(trial, settings, shared["n_steps"]),
        "target_kl": trial.suggest_float("target_kl", 1e-3, 1e-1, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        "n_critic_updates": trial.suggest_int("n_critic_updates", 5, 20),
    }


def off_policy(trial: Trial, settings: Settings) -> dict[str, Any]:
    """What algorithms with a replay buffer share."""
    width = trial.suggest_categorical("width", (64, 128, 256))
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        "batch_size": trial.suggest_categorical("batch_size", (64, 128, 256)),
        "learning_starts": trial.suggest_categorical("learning_starts", (128, 256, 512)),
        "gradient_steps": trial.suggest_categorical("gradient_steps", (1, 2, 4, 8)),
        "policy_kwargs": {"net_arch": [width, width]},
    }


def averaged(trial: Trial, settings: Settings) -> dict[str, Any]:
    """What algorithms with a replay buffer and target networks share."""
    return {**off_policy(trial, settings), "tau": trial.suggest_float("tau", 1e-3, 5e-2, log=True)}


def deterministic(trial: Trial, settings: Settings) -> dict[str, Any]:
    """What algorithms share whose actor draws nothing: they explore by noise on their actions."""
    noise = trial.suggest_float("noise_std", 0.05, 0.5, log=True)
    return {**averaged(trial, settings), "noise_type": "normal", "noise_std": noise}


SEARCH_SPACES: dict[str, Space] = {
    "ppo": ppo,
    "a2c": a2c,
    "trpo": trpo,
    "sac": averaged,
    "tqc": averaged,
    "crossq": off_policy,
    "td3": deterministic,
    "ddpg": deterministic,
}
"""Name of an algorithm -> its search space."""
