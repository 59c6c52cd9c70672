"""MuJoCo and DMControl, which only some tasks need."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any


def control(name: str) -> Any:
    """A module of mujoco or dm_control, imported when it is needed.

    Raises:
        ImportError: If the package is missing, or fails with the OpenGL that MUJOCO_GL names.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f"cartpole-swingup needs mujoco and dm_control ({error}): pip install 'prune_env[control]'"
        ) from error
    except Exception as error:  # MuJoCo loads drivers at import
        raise opengl_error(error) from error


def opengl_error(error: Exception) -> ImportError:
    """The error to raise when OpenGL fails, which drivers report in many ways."""
    return ImportError(
        f"cartpole-swingup could not use OpenGL with MUJOCO_GL={opengl_platform() or 'unset'} ({error}):"
        " set MUJOCO_GL=egl, or MUJOCO_GL=osmesa with the system package libosmesa6"
    )


def opengl_platform() -> str:
    """Value of MUJOCO_GL: how MuJoCo gets its OpenGL context."""
    return os.environ.get("MUJOCO_GL", "").lower().strip()


def cartpole_model() -> Any:
    """DMControl's model, from its file: importing the suite is slow, and fails where OpenGL does."""
    folder = Path(control("dm_control").__path__[0])
    return control("mujoco").MjModel.from_xml_path(str(folder / "suite" / "cartpole.xml"))
