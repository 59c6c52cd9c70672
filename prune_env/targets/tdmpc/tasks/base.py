"""What a controller is asked to do: a simulated task, stepped for many episodes at once.

Letters: E episodes, A actions, N numbers of a simulator's state; an observation's shape is written "...".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Simulation(Protocol):
    """E episodes that run side by side."""

    def observe(self) -> npt.NDArray[np.float32] | npt.NDArray[np.uint8]:
        """What is seen now, [E, ...]: float32 numbers, or a uint8 frame (without its predecessors)."""

    def step(self, actions: npt.NDArray[np.float32]) -> Array:
        """Do actions [E, A] in [-1, 1] for one step of control, and return what they earned [E]."""


Renderer = Callable[[Any], npt.NDArray[np.uint8]]
"""From a simulation to RGB pictures of its episodes, [E, size, size, 3]."""


class Task(Protocol):
    """A task without a particular episode.

    Attributes:
        action_dim: A.
        episode_length: Steps of control in an episode.
        observation_shape: Of one observation or frame.
        pixels: Whether observations are frames.
        rewards: Least and largest reward of one step of control.
    """

    action_dim: int
    episode_length: int
    observation_shape: tuple[int, ...]
    pixels: bool
    rewards: tuple[float, float]

    def starts(self, count: int, random: np.random.Generator) -> Array:
        """States that episodes may begin in, [count, N]."""

    def begin(self, states: Array) -> Simulation:
        """Episodes that begin in these states [E, N]."""

    def renderer(self, size: int) -> Renderer:
        """Draws what people would see of episodes of this task."""
