"""How an agent acts: what a simulator calls, and an observation to export it with."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from prune_env.targets.sb3.networks import AgentNet
from prune_env.targets.sb3.simulation import Actor, Simulator
from prune_env.targets.transfer import to_device


def deterministic(net: AgentNet, device: torch.device) -> Actor:
    """Acts as SB3's `predict(deterministic=True)` does."""

    @torch.no_grad()
    def act(observations: Tensor) -> Tensor:
        return net.action(to_device(observations, device))

    return act


def sampling(net: AgentNet, generator: torch.Generator, device: torch.device) -> Actor:
    """Acts by samples of the policy."""

    @torch.no_grad()
    def act(observations: Tensor) -> Tensor:
        return net.explore(net.preprocess(to_device(observations, device)), generator)

    return act


def example_of(simulator: Simulator, space: gym.Space) -> Tensor:
    """One observation of the environment, [1, ...]; whole numbers are the largest that there may be.

    Args:
        simulator: The environment.
        space: Of the policy's observations.
    """
    example = torch.from_numpy(simulator.first_observation()[None])
    if example.is_floating_point():
        return example
    described: Any = space
    largest = int(described.n) - 1 if isinstance(space, gym.spaces.Discrete) else int(np.min(getattr(space, "high", 1)))
    return torch.full_like(example, largest)
