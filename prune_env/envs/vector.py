"""Vector rewards in Gymnasium's vector environments, which keep one number for each environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import SyncVectorEnv


class SyncVectorRewardEnv(SyncVectorEnv):
    """Gymnasium's SyncVectorEnv for environments whose reward is an array, e.g. `objective="vector"`.

    `step` returns rewards [N, D] of N environments, with D of their `reward_space`.

    Args:
        env_fns: Functions that make the environments.
        **kwargs: As for SyncVectorEnv.

    Raises:
        ValueError: If the environments have no `reward_space`, which says that their reward is an array.
    """

    def __init__(self, env_fns: Sequence[Callable[[], gym.Env]], **kwargs: Any):
        super().__init__(env_fns, **kwargs)
        space = getattr(self.envs[0].unwrapped, "reward_space", None)
        if space is None:
            raise ValueError("these environments have no reward_space: give a vector objective, or take SyncVectorEnv")
        self.reward_space = space
        self._rewards = np.zeros((self.num_envs, *space.shape))
