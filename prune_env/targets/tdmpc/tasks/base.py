"""The contract of a simulated task, stepped for many episodes at once.

Letters: E episodes, A actions, N numbers of a simulator's state; "..." is the shape of an observation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Simulation(Protocol):
    """E episodes that are simulated side by side."""

    def observe(self) -> npt.NDArray[np.float32] | npt.NDArray[np.uint8]:
        """Current observations [E, ...]: float32 numbers, or one uint8 frame each."""

    def step(self, actions: npt.NDArray[np.float32]) -> Array:
        """Apply actions [E, A] in [-1, 1] for one step of control; returns the rewards [E]."""


Renderer = Callable[[Any], npt.NDArray[np.uint8]]
"""Renders a simulation: RGB pictures of its episodes, [E, size, size, 3]."""


class Task(Protocol):
    """A task: initial states, simulations and pictures.

    Attributes:
        action_dim: A.
        episode_length: Steps of control in an episode.
        observation_shape: Shape of one observation or frame.
        pixels: Whether observations are frames.
        rewards: Least and largest reward of one step of control.
    """

    action_dim: int
    episode_length: int
    observation_shape: tuple[int, ...]
    pixels: bool
    rewards: tuple[float, float]

    def starts(self, count: int, random: np.random.Generator) -> Array:
        """Draw initial states, [count, N]."""

    def begin(self, states: Array) -> Simulation:
        """Start episodes from these states [E, N]."""

    def renderer(self, size: int) -> Renderer:
        """A renderer of pictures for people, `size` pixels high and wide."""
