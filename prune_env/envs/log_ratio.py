"""Actions on the scale on which allocations differ: the logarithm of the speed at which a group shrinks."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils import RecordConstructorArgs

SPAN = 5.0
"""A group with action 1 shrinks exp(SPAN) times as fast as one with action -1."""


def ratios_of(actions: np.ndarray, max_ratio: float) -> np.ndarray:
    """Pruning ratios of actions in [-1, 1]: the share that stays is (1 - max_ratio)^exp(SPAN (a - 1) / 2).

    The budget projection raises the shares that stay to one common power. On this scale that is a shift: what matters
    are the differences of a group's action from the others'. Linear in the ratio, most of the range is spent on ratios
    that the projection makes alike.

    Args:
        actions: [..., G].
        max_ratio: The ratio of action 1.
    """
    speed = np.exp(0.5 * SPAN * (np.asarray(actions, dtype=np.float64).clip(-1.0, 1.0) - 1.0))
    return -np.expm1(speed * np.log1p(-max_ratio))


def actions_of(ratios: np.ndarray, max_ratio: float) -> np.ndarray:
    """The actions in [-1, 1] whose ratios these are; ratios that are smaller than that of -1 get -1."""
    speed = np.log1p(-np.asarray(ratios, dtype=np.float64)) / np.log1p(-max_ratio)
    return (1.0 + np.log(speed.clip(min=np.exp(-SPAN))) * 2.0 / SPAN).clip(-1.0, 1.0)


class LogRatioAction(gym.ActionWrapper, RecordConstructorArgs):
    """Actions in [-1, 1] are log-speeds of shrinking; an alternative to `RescaleAction(env, -1.0, 1.0)`.

    Args:
        env: A `PruningEnv`.
    """

    def __init__(self, env: gym.Env):
        RecordConstructorArgs.__init__(self)
        gym.ActionWrapper.__init__(self, env)
        assert isinstance(env.action_space, Box)
        self.max_ratio = float(env.action_space.high.max())
        self.action_space = Box(-1.0, 1.0, env.action_space.shape, dtype=np.float32)

    def action(self, action: np.ndarray) -> np.ndarray:
        """The pruning ratios float32 [G] of an action."""
        return ratios_of(action, self.max_ratio).astype(np.float32)
