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
    except Exception as error:  # of drivers, for MuJoCo loads them when it is imported
        raise opengl_error(error) from error


def opengl_error(error: Exception) -> ImportError:
    """What to say when OpenGL fails, in as many ways as there are drivers."""
    return ImportError(
        f"cartpole-swingup could not use OpenGL with MUJOCO_GL={opengl_platform() or 'unset'} ({error}):"
        " set MUJOCO_GL=egl, or MUJOCO_GL=osmesa with the system package libosmesa6"
    )


def opengl_platform() -> str:
    """What the environment says of the way to OpenGL."""
    return os.environ.get("MUJOCO_GL", "").lower().strip()


def cartpole_model() -> Any:
    """DMControl's model, from its file: importing the suite takes longer, and fails where OpenGL does."""
    folder = Path(control("dm_control").__path__[0])
    return control("mujoco").MjModel.from_xml_path(str(folder / "suite" / "cartpole.xml"))
