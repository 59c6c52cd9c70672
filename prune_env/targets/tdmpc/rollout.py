"""Whole episodes of a task, simulated side by side, with an actor.

Letters: E episodes, T steps of an episode, A actions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from prune_env.targets.tdmpc.networks import ControllerNet, encode
from prune_env.targets.tdmpc.networks import act as pi
from prune_env.targets.tdmpc.planner import Plan, Planner
from prune_env.targets.tdmpc.replay import Episodes, stack_frames
from prune_env.targets.tdmpc.tasks import Simulation, Task
from prune_env.targets.tdmpc.tasks.base import Array
from prune_env.targets.transfer import to_device

Actor = Callable[[Tensor], Tensor]
"""From observations [E, ...] to actions [E, A] in [-1, 1], both on the CPU; called once in every step of control."""

StepCallback = Callable[[Simulation], None]


def roll_out(task: Task, states: Array, actor: Actor, stack: int = 1, on_step: StepCallback | None = None) -> Episodes:
    """Run whole episodes.

    Args:
        task: The task.
        states: Initial states, [E, N].
        actor: Decides for all episodes at once.
        stack: Frames in an observation.
        on_step: Called with the simulation after every step of control.
    """
    simulation = task.begin(states)
    length, count = task.episode_length, len(states)
    first = torch.from_numpy(simulation.observe())
    frames = first.new_empty((count, length + stack, *first.shape[1:]))
    frames[:, :stack] = first.unsqueeze(1)
    actions = torch.empty(count, length, task.action_dim)
    rewards = torch.empty(count, length, dtype=torch.float64)
    with torch.no_grad():
        for t in range(length):
            actions[:, t] = actor(stack_frames(frames[:, t : t + stack], stack)[0])
            rewards[:, t] = torch.from_numpy(simulation.step(actions[:, t].numpy()))
            frames[:, t + stack] = torch.from_numpy(simulation.observe())
            if on_step is not None:
                on_step(simulation)
    return Episodes(frames, actions, rewards.float())


def random_actor(action_dim: int, generator: torch.Generator) -> Actor:
    """Uniform actions that ignore the observations."""
    return lambda observations: 2 * torch.rand(len(observations), action_dim, generator=generator) - 1


def policy_actor(net: ControllerNet, std: float = 0.0, generator: torch.Generator | None = None) -> Actor:
    """The policy without planning, with Gaussian noise of standard deviation `std`."""

    def act(observations: Tensor) -> Tensor:
        actions = _to_host(pi(net, _latents(net, observations)))
        if std:
            actions = actions + std * torch.randn(actions.shape, generator=generator)
        return actions.clamp(-1, 1)

    return act


def planning_actor(net: ControllerNet, planner: Planner, generator: torch.Generator) -> Actor:
    """The planner; each plan starts from the one of the previous step."""
    plan: Plan | None = None

    def act(observations: Tensor) -> Tensor:
        nonlocal plan
        plan = planner(net, _latents(net, observations), plan, generator)
        return _to_host(plan.action)

    return act


def _latents(net: ControllerNet, observations: Tensor) -> Tensor:
    return encode(to_device(observations, net.device), net.encoder)[0]


def _to_host(actions: Tensor) -> Tensor:
    """Simulators run on the CPU: this waits for the device, once in a step of all episodes."""
    return actions.cpu()


def fixed_starts(task: Task, count: int, seed: int) -> Array:
    """Initial states drawn with `seed`, [count, N]."""
    return task.starts(count, np.random.default_rng(seed))
