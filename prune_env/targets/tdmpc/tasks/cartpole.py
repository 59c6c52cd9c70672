"""DMControl's cartpole swing-up for many episodes at once, with its MuJoCo model, rewards and initial states.

Episodes are stepped by `mujoco.batch`, with results that are bit-identical to stepping them one after the other.

Letters: E episodes, R simulator steps in a step of control.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.targets.tdmpc.tasks.base import Array, Renderer
from prune_env.targets.tdmpc.tasks.cartpole_frames import CartpoleFrames
from prune_env.targets.tdmpc.tasks.mujoco_model import cartpole_model, control

_STEPS = 1000  # of the simulator in an episode
_STATE = 4  # position of the cart [m], angle of the pole [rad], and their speeds
_RECORD = ("qpos", "qvel")


class CartpoleSwingup:
    """Swing up a pole by moving the cart that it hangs from, and balance it.

    Args:
        action_repeat: Simulator steps in a step of control.
        frames: Renders the observations; without it they are [position, cos, sin, velocity, angular velocity].

    Raises:
        ValueError: If the episode cannot be divided into steps of control of that length.
        ImportError: If mujoco or dm_control is missing.
    """

    action_dim = 1

    def __init__(self, action_repeat: int = 8, frames: CartpoleFrames | None = None):
        if _STEPS % action_repeat:
            raise ValueError(f"action_repeat must divide the {_STEPS} steps of an episode, got {action_repeat}")
        self.action_repeat, self.frames = action_repeat, frames
        self.episode_length = _STEPS // action_repeat
        self.pixels = frames is not None
        self.observation_shape: tuple[int, ...] = frames.shape if frames else (5,)
        self.rewards = (0.0, float(action_repeat))
        self._batch, self._tolerance = control("mujoco.batch"), control("dm_control.utils.rewards").tolerance
        self._model = cartpole_model()

    def __getstate__(self) -> dict[str, Any]:
        return {"action_repeat": self.action_repeat, "frames": self.frames}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def starts(self, count: int, random: np.random.Generator) -> Array:
        """DMControl's initial states: cart in the middle, pole hanging, both nearly at rest, [count, 4]."""
        return np.array([0.0, math.pi, 0.0, 0.0]) + 0.01 * random.standard_normal((count, _STATE))

    def begin(self, states: Array) -> CartpoleEpisodes:
        """Start episodes from these positions, angles and velocities [E, 4]."""
        simulator = self._batch.Batch(self._model, len(states), nthread=1)
        return CartpoleEpisodes(simulator, states, self)

    def renderer(self, size: int) -> Renderer:
        """A renderer of MuJoCo's pictures."""
        frames = CartpoleFrames(size, gray=False)
        return lambda simulation: np.moveaxis(frames(simulation.position), 1, -1)

    def reward(self, position: Array, velocity: Array, control: Array) -> Array:
        """DMControl's reward, in [0, 1], after steps to `position` and `velocity` [E, R, 2] under `control` [E, 1]."""
        upright = (np.cos(position[..., 1]) + 1) / 2
        centered = (1 + self._tolerance(position[..., 0], margin=2)) / 2
        effort = self._tolerance(control, margin=1, value_at_margin=0, sigmoid="quadratic")
        small_velocity = (1 + self._tolerance(velocity[..., 1], margin=5)) / 2
        return upright * (4 + effort) / 5 * small_velocity * centered


class CartpoleEpisodes:
    """E simulated carts. An episode fails if an action is not finite or MuJoCo warns: its state and rewards become NaN.

    Attributes:
        position: Position of the cart [m] and angle of the pole [rad], 0 upright, [E, 2].
        velocity: Their velocities [m/s, rad/s], [E, 2].
    """

    def __init__(self, simulator: Any, states: Array, task: CartpoleSwingup):
        self.position, self.velocity = states[:, :2].copy(), states[:, 2:].copy()
        self._simulator, self._task = simulator, task
        self._control, self._warnings = simulator.bind("ctrl"), simulator.warning[..., 1]
        self._failed = np.array(~np.isfinite(states).all(axis=1))
        valid = np.where(self._failed[:, None], 0.0, states)
        simulator.bind("qpos")[:], simulator.bind("qvel")[:] = valid[:, :2], valid[:, 2:]

    def observe(self) -> npt.NDArray[np.float32] | npt.NDArray[np.uint8]:
        """Numbers [E, 5], or frames [E, C, S, S]."""
        if self._task.frames is not None:
            return self._task.frames(self.position)
        cart, angle = self.position[:, :1], self.position[:, 1:]
        return np.concatenate([cart, np.cos(angle), np.sin(angle), self.velocity], axis=1).astype(np.float32)

    def step(self, actions: npt.NDArray[np.float32]) -> Array:
        """Forces [E, 1] as shares of the largest, repeated; returns the sum of rewards [E]."""
        self._failed |= ~np.isfinite(actions).all(axis=1)
        total = np.full(len(actions), np.nan)
        running = np.flatnonzero(~self._failed)
        if len(running):
            control = np.clip(actions[running], -1.0, 1.0).astype(np.float64)
            self._control[running] = control
            path = self._simulator.rollout(self._task.action_repeat, record=_RECORD, ids=running)
            position, velocity = path["qpos"], path["qvel"]
            total[running] = self._task.reward(position, velocity, control).sum(axis=1)
            self.position[running], self.velocity[running] = position[:, -1], velocity[:, -1]
            self._failed |= self._warnings.any(axis=1)
        for array in (self.position, self.velocity, total):
            array[self._failed] = np.nan
        return total
