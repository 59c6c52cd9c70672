"""Frames of DMControl's cartpole, rendered by MuJoCo.

Scene and OpenGL context are kept, and shadows, reflections and sky, which small frames hardly show, are left out: a
frame takes a fraction of the time of DMControl's renderer.

Letters: E episodes, C channels (1 gray or 3), S size [px].
"""

from __future__ import annotations

import atexit
import os
import sys
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.targets.tdmpc.tasks.base import Array
from prune_env.targets.tdmpc.tasks.mujoco_model import cartpole_model, control, opengl_error, opengl_platform

_CAMERA = 0  # the fixed one
_THIN = 64  # smaller frames, in which the pole is about a pixel wide, are rendered twice as large and averaged [px]


class CartpoleFrames:
    """Frames of S x S pixels.

    Args:
        size: S [px].
        gray: One channel of mean brightness instead of three colours.

    Raises:
        ImportError: If mujoco, dm_control or an OpenGL driver is missing.
    """

    def __init__(self, size: int, gray: bool):
        self.size, self.gray = size, gray
        self.shape = (1 if gray else 3, size, size)
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            os.environ.setdefault("MUJOCO_GL", "egl")
        self._mujoco = control("mujoco")
        self._model = cartpole_model()
        self._model.vis.quality.offsamples = 0
        self._scale = 2 if size < _THIN else 1
        self._drawn = self._scale * size
        self._model.vis.global_.offwidth = self._model.vis.global_.offheight = self._drawn
        self._data = self._mujoco.MjData(self._model)
        self._prepare()
        try:
            self._open()
            self(np.zeros((1, 2)))
        except Exception as error:
            raise opengl_error(error) from error

    def __getstate__(self) -> dict[str, Any]:
        return {"size": self.size, "gray": self.gray}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __call__(self, positions: Array) -> npt.NDArray[np.uint8]:
        """Frames [E, C, S, S] of positions and angles [E, 2]; numbers that are not finite count as 0."""
        frames = np.empty((len(positions), self._drawn, self._drawn, 3), dtype=np.uint8)
        self._opengl.make_current()
        self._mujoco.mjr_setBuffer(self._mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        for frame, position in zip(frames, np.nan_to_num(positions, posinf=0.0, neginf=0.0), strict=True):
            self._draw(position, frame)
        frames = frames[:, ::-1].transpose(0, 3, 1, 2)  # OpenGL's first row is the lowest
        if self._scale == 1 and not self.gray:
            return np.ascontiguousarray(frames)
        blocks = frames.reshape(len(frames), self.shape[0], -1, self.size, self._scale, self.size, self._scale)
        return blocks.mean(axis=(2, 4, 6), dtype=np.float32).round().astype(np.uint8)

    def _draw(self, position: Array, out: npt.NDArray[np.uint8]) -> None:
        mujoco = self._mujoco
        self._data.qpos[:] = position
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, self._data, self._option, None, self._camera, everything, self._scene)
        mujoco.mjr_render(self._view, self._scene, self._context)
        mujoco.mjr_readPixels(out, None, self._view, self._context)

    def _prepare(self) -> None:
        """Set up scene, options, camera and viewport."""
        mujoco = self._mujoco
        self._scene = mujoco.MjvScene(self._model, maxgeom=20)
        for flag in ("SHADOW", "REFLECTION", "SKYBOX"):
            self._scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{flag}")] = False
        self._option, self._camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self._camera.type, self._camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, _CAMERA
        self._view = mujoco.MjrRect(0, 0, self._drawn, self._drawn)

    def _open(self) -> None:
        mujoco = self._mujoco
        self._opengl = _opengl()
        self._opengl.make_current()
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_50)


@cache
def _opengl() -> Any:
    """OpenGL context of the process. MuJoCo's own choice is made at import, which may be before MUJOCO_GL is set."""
    module = f"mujoco.{opengl_platform()}" if opengl_platform() in ("egl", "osmesa") else "mujoco.gl_context"
    context = import_module(module).GLContext(1, 1)
    atexit.register(context.free)
    return context
