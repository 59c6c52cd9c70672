"""Frames of a pendulum from a table: each of 2,048 angles is rendered by Gymnasium once, on first use.

Without the torque's arrow, a frame of Pendulum-v1 depends on the angle alone. Rendering takes milliseconds, a look-up
microseconds.

Letters: E episodes, C channels (1 gray or 3), S size [px].
"""

from __future__ import annotations

import math
import os
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812

from prune_env.targets.tdmpc.tasks.base import Array

ANGLES = 2048


class PendulumFrames:
    """Frames of S x S pixels, inverted so that the empty background is 0.

    Args:
        size: S [px].
        gray: One channel of mean brightness instead of three colours.

    Raises:
        ImportError: If the package that Gymnasium draws with is missing.
    """

    def __init__(self, size: int, gray: bool):
        try:
            import pygame  # noqa: F401
        except ImportError as error:
            raise ImportError(
                "pictures of the pendulum need pygame: pip install 'gymnasium[classic-control]'"
            ) from error
        self.size, self.gray = size, gray
        self.shape = (1 if gray else 3, size, size)
        self._table = np.empty((ANGLES, *self.shape), dtype=np.uint8)
        self._drawn = np.zeros(ANGLES, dtype=bool)
        self._env: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"size": self.size, "gray": self.gray}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __call__(self, angles: Array) -> npt.NDArray[np.uint8]:
        """Frames [E, C, S, S] of angles [rad], [E]; angles that are not finite count as 0."""
        turns = np.nan_to_num(angles, posinf=0.0, neginf=0.0) / (2 * math.pi)
        index = np.rint(turns * ANGLES).astype(np.int64) % ANGLES
        for i in np.unique(index[~self._drawn[index]]):
            self._table[i] = self.draw(2 * math.pi * i / ANGLES)
            self._drawn[i] = True
        return self._table[index]

    def draw(self, angle: float) -> npt.NDArray[np.uint8]:
        """One frame [C, S, S], rendered by Gymnasium and reduced by averaging areas."""
        if self._env is None:
            if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
                os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame wants a screen, though none is used
            self._env = gym.make("Pendulum-v1", render_mode="rgb_array").unwrapped
        self._env.state, self._env.last_u = np.array([angle, 0.0]), None
        picture = torch.from_numpy(255 - self._env.render()).permute(2, 0, 1).float()
        if self.gray:
            picture = picture.mean(0, keepdim=True)
        return F.adaptive_avg_pool2d(picture, self.size).round().to(torch.uint8).numpy()
