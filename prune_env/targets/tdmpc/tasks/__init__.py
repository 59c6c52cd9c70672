"""Simulated tasks for controllers, stepped for many episodes at once."""

from collections.abc import Callable
from typing import Any

from prune_env.targets.tdmpc.tasks.base import Simulation, Task
from prune_env.targets.tdmpc.tasks.cartpole import CartpoleSwingup
from prune_env.targets.tdmpc.tasks.cartpole_frames import CartpoleFrames
from prune_env.targets.tdmpc.tasks.pendulum import Pendulum
from prune_env.targets.tdmpc.tasks.pendulum_frames import PendulumFrames

__all__ = ["TASKS", "CartpoleFrames", "CartpoleSwingup", "Pendulum", "PendulumFrames", "Simulation", "Task"]

# Every task, by name: made of its action repeat and of what draws it, which is made of size and grayness.
TASKS: dict[str, tuple[Callable[..., Task], Callable[[int, bool], Any]]] = {
    "pendulum": (Pendulum, PendulumFrames),
    "cartpole-swingup": (CartpoleSwingup, CartpoleFrames),
}
