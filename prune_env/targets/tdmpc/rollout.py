"""Whole episodes of a task, side by side, with whoever acts.

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
from prune_env.targets.tdmpc.replay import Episodes, stacked
from prune_env.targets.tdmpc.tasks import Simulation, Task
from prune_env.targets.tdmpc.tasks.base import Array
from prune_env.targets.transfer import to_device

Actor = Callable[[Tensor], Tensor]
"""From observations [E, ...] to actions [E, A] in [-1, 1], both on the CPU; called once in every step of control."""

Witness = Callable[[Simulation], None]


def roll_out(task: Task, states: Array, actor: Actor, stack: int = 1, witness: Witness | None = None) -> Episodes:
    """Episodes from these states [E, N], of the task's full length; `witness` sees the simulation after every step."""
    simulation = task.begin(states)
    length, count = task.episode_length, len(states)
    first = torch.from_numpy(simulation.observe())
    frames = first.new_empty((count, length + stack, *first.shape[1:]))
    frames[:, :stack] = first.unsqueeze(1)
    actions = torch.empty(count, length, task.action_dim)
    rewards = torch.empty(count, length, dtype=torch.float64)
    with torch.no_grad():
        for t in range(length):
            actions[:, t] = actor(stacked(frames[:, t : t + stack], stack)[0])
            rewards[:, t] = torch.from_numpy(simulation.step(actions[:, t].numpy()))
            frames[:, t + stack] = torch.from_numpy(simulation.observe())
            if witness is not None:
                witness(simulation)
    return Episodes(frames, actions, rewards.float())


def random_actor(action_dim: int, generator: torch.Generator) -> Actor:
    """Uniform actions, whatever is seen."""
    return lambda seen: 2 * torch.rand(len(seen), action_dim, generator=generator) - 1


def policy_actor(net: ControllerNet, std: float = 0.0, generator: torch.Generator | None = None) -> Actor:
    """The policy alone, with Gaussian noise of `std`."""

    def act(seen: Tensor) -> Tensor:
        actions = _to_host(pi(net, _latents(net, seen)))
        if std:
            actions = actions + std * torch.randn(actions.shape, generator=generator)
        return actions.clamp(-1, 1)

    return act


def planning_actor(net: ControllerNet, planner: Planner, generator: torch.Generator) -> Actor:
    """The planner, each episode's plan starting from its own last one."""
    plan: Plan | None = None

    def act(seen: Tensor) -> Tensor:
        nonlocal plan
        plan = planner(net, _latents(net, seen), plan, generator)
        return _to_host(plan.action)

    return act


def _latents(net: ControllerNet, seen: Tensor) -> Tensor:
    return encode(to_device(seen, net.device), net.encoder)[0]


def _to_host(actions: Tensor) -> Tensor:
    """Where simulators are. It waits for the device, once in a step of all episodes."""
    return actions.cpu()


def fixed_starts(task: Task, count: int, seed: int) -> Array:
    """The same `count` states whenever they are asked for, [count, N]."""
    return task.starts(count, np.random.default_rng(seed))
