"""Gymnasium's Pendulum-v1 for many episodes at once, with the same dynamics, rewards and frames.

Letters: E episodes.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from prune_env.targets.tdmpc.tasks.base import Array, Renderer
from prune_env.targets.tdmpc.tasks.pendulum_frames import PendulumFrames

_GRAVITY, _MASS, _LENGTH, _DT = 10.0, 1.0, 1.0, 0.05  # [m/s^2], [kg], [m], [s]
_MAX_SPEED, _MAX_TORQUE = 8.0, 2.0  # [rad/s], [N m]
_STEPS = 200  # of the simulator in an episode
_WORST = -(math.pi**2 + 0.1 * _MAX_SPEED**2 + 0.001 * _MAX_TORQUE**2)


class Pendulum:
    """Swing up a pendulum with a weak motor, and balance it.

    Args:
        action_repeat: Simulator steps in a step of control.
        frames: Renders the observations; without it they are [cos, sin, angular velocity].

    Raises:
        ValueError: If the episode cannot be divided into steps of control of that length.
    """

    action_dim = 1

    def __init__(self, action_repeat: int = 4, frames: PendulumFrames | None = None):
        if _STEPS % action_repeat:
            raise ValueError(f"action_repeat must divide the {_STEPS} steps of an episode, got {action_repeat}")
        self.action_repeat, self.frames = action_repeat, frames
        self.episode_length = _STEPS // action_repeat
        self.pixels = frames is not None
        self.observation_shape: tuple[int, ...] = frames.shape if frames else (3,)
        self.rewards = (action_repeat * _WORST, 0.0)

    def starts(self, count: int, random: np.random.Generator) -> Array:
        """Gymnasium's initial states: angles [rad], 0 upright, and angular velocities [rad/s], [count, 2]."""
        return random.uniform([-math.pi, -1.0], [math.pi, 1.0], size=(count, 2))

    def begin(self, states: Array) -> PendulumEpisodes:
        """Start episodes from these angles and angular velocities [E, 2]."""
        return PendulumEpisodes(states, self.action_repeat, self.frames)

    def renderer(self, size: int) -> Renderer:
        """A renderer of Gymnasium's pictures, without the torque's arrow."""
        frames = PendulumFrames(size, gray=False)
        return lambda simulation: np.moveaxis(255 - frames(simulation.angle), 1, -1)


class PendulumEpisodes:
    """E simulated pendulums.

    Attributes:
        angle: [rad], 0 upright, [E].
        speed: [rad/s], [E].
    """

    def __init__(self, states: Array, action_repeat: int, frames: PendulumFrames | None):
        self.angle, self.speed = states[:, 0].copy(), states[:, 1].copy()
        self._repeat, self._frames = action_repeat, frames

    def observe(self) -> npt.NDArray[np.float32] | npt.NDArray[np.uint8]:
        """Numbers [E, 3], or frames [E, C, S, S]."""
        if self._frames is not None:
            return self._frames(self.angle)
        return np.stack([np.cos(self.angle), np.sin(self.angle), self.speed], axis=1).astype(np.float32)

    def step(self, actions: npt.NDArray[np.float32]) -> Array:
        """Torques [E, 1] as shares of the largest, repeated; returns the sum of rewards [E]."""
        # Gymnasium's torque is a float32, and so are the terms that contain nothing else.
        torque = np.clip(actions[:, 0], -1.0, 1.0) * np.float32(_MAX_TORQUE)
        push, effort = 3.0 / (_MASS * _LENGTH**2) * torque, 0.001 * torque**2
        total = np.zeros(len(torque))
        for _ in range(self._repeat):
            folded = (self.angle + math.pi) % (2 * math.pi) - math.pi
            total -= folded**2 + 0.1 * self.speed**2 + effort
            gravity = 3 * _GRAVITY / (2 * _LENGTH) * np.sin(self.angle)
            self.speed = np.clip(self.speed + (gravity + push) * _DT, -_MAX_SPEED, _MAX_SPEED)
            self.angle = self.angle + self.speed * _DT
        return total
