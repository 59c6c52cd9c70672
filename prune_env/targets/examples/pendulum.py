"""A damped pendulum with a motor: the physics behind the examples that roll a state forward."""

from __future__ import annotations

import torch
from torch import Tensor

_STEP, _GRAVITY, _DAMPING, _PIECES = 0.3, 4.0, 0.3, 3  # [s], [1/s^2], [1/s], Euler steps in one step of control


def advance(angle: Tensor, speed: Tensor, torque: Tensor) -> tuple[Tensor, Tensor]:
    """Angle [rad], 0 hanging down, and speed [rad/s], one step of control later; all arguments have the same shape."""
    for _ in range(_PIECES):
        speed = speed + _STEP / _PIECES * (torque - _GRAVITY * angle.sin() - _DAMPING * speed)
        angle = angle + _STEP / _PIECES * speed
    return angle, speed


def observe(angle: Tensor, speed: Tensor) -> Tensor:
    """Observation of a state: cosine, sine and half the speed, [..., 3] for states [...]."""
    return torch.stack([angle.cos(), angle.sin(), speed / 2], dim=-1)
