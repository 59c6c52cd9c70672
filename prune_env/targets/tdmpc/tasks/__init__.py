"""Simulated tasks for controllers, stepped for many episodes at once."""

from prune_env.targets.tdmpc.tasks.base import Simulation, Task
from prune_env.targets.tdmpc.tasks.frames import PendulumFrames
from prune_env.targets.tdmpc.tasks.pendulum import Pendulum

__all__ = ["Pendulum", "PendulumFrames", "Simulation", "Task"]
