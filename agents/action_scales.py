"""Scales of actions in [-1, 1]: linear in the pruning ratio, or in the logarithm of the speed of shrinking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import RescaleAction

from prune_env.envs import LogRatioAction
from prune_env.envs.log_ratio import actions_of, ratios_of


@dataclass(frozen=True)
class ActionScale:
    """How actions in [-1, 1] become pruning ratios in [0, max_ratio].

    Attributes:
        wrapper: Name of the wrapper's class, as files of hyperparameters give it.
        wrap: Wraps an environment.
        to_ratios: (actions [..., G], max_ratio) -> ratios.
        to_actions: The inverse.
    """

    wrapper: str
    wrap: Callable[[gym.Env], gym.Env]
    to_ratios: Callable[[np.ndarray, float], np.ndarray]
    to_actions: Callable[[np.ndarray, float], np.ndarray]


ACTION_SCALES = {
    "ratio": ActionScale(
        "RescaleAction",
        lambda env: RescaleAction(env, np.float32(-1), np.float32(1)),
        lambda actions, max_ratio: 0.5 * (actions.clip(-1.0, 1.0) + 1.0) * max_ratio,
        lambda ratios, max_ratio: 2.0 * ratios / max_ratio - 1.0,
    ),
    "log-ratio": ActionScale("LogRatioAction", LogRatioAction, ratios_of, actions_of),
}
"""Name -> scale; the hyperparameter `actions`."""
