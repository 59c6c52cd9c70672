"""TD-MPC-style: encoder, latent dynamics, reward, policy and two value functions, after arXiv 2203.04955.

The world model of a controller without the reinforcement learning: what its parts learn by trial and error there is
given as data here. The real thing is another target.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prune_env.targets.examples.pendulum import advance, observe
from prune_env.targets.examples.regression import Samples, SyntheticRegression, mlp

_HORIZON, _LOOKAHEAD, _DISCOUNT = 3, 4, 0.9


class TDMPCStyleNet(nn.Module):
    """The latent z is encoded once and then carried forward by the dynamics; everything else reads it."""

    def __init__(self, width: int, latent: int):
        super().__init__()
        self.encoder = mlp(3, width, latent, activation=nn.ELU)
        self.dynamics = mlp(latent + 1, width, width, latent, activation=nn.ELU)
        self.reward = mlp(latent + 1, width, width, 1, activation=nn.ELU)
        self.policy = mlp(latent, width, width, 1, activation=nn.ELU)
        self.q1 = _value(latent, width)
        self.q2 = _value(latent, width)

    def forward(self, observation: Tensor, actions: Tensor) -> tuple[Tensor, ...]:
        """Rewards, the policy's actions and both values, each [B, horizon, 1], along a latent rollout.

        Args:
            observation: The first one, [B, 3].
            actions: What is done at every step, [B, horizon, 1].
        """
        z, rows = self.encoder(observation), []
        for t in range(actions.shape[1]):
            if t:
                z = self.dynamics(torch.cat([z, actions[:, t - 1]], dim=1))
            za = torch.cat([z, actions[:, t]], dim=1)
            rows.append((self.reward(za), self.policy(z), self.q1(za), self.q2(za)))
        return tuple(torch.stack(steps, dim=1) for steps in zip(*rows, strict=True))


def _value(latent: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(latent + 1, width), nn.LayerNorm(width), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(width, width), nn.ELU(), nn.Linear(width, 1))


class TDMPCStyle(SyntheticRegression):
    """Six components along a latent rollout of three steps give reward, action and value (twice) of a driven pendulum.

    The action to imitate is a damping controller's, the value the discounted reward of its next steps.
    """

    components = ("encoder", "dynamics", "reward", "policy", "q1", "q2")

    def draw(self, size: int, generator: torch.Generator) -> Samples:
        """First observations [N, 3] and actions [N, 3, 1], and the four answers [N, 3, 1]."""
        angle, speed = 2 * torch.randn(2, size, 1, generator=generator)
        actions = torch.randn(size, _HORIZON, 1, generator=generator)
        start = observe(angle[:, 0], speed[:, 0])
        rewards, controls, values = [], [], []
        for t in range(_HORIZON):
            rewards.append(_reward(angle, speed, actions[:, t]))
            controls.append(_control(angle, speed))
            values.append(_return(angle, speed, actions[:, t]))
            angle, speed = advance(angle, speed, actions[:, t])
        reward, control, value = (torch.stack(steps, dim=1) for steps in (rewards, controls, values))
        return Samples((start, actions), (reward, control, value, value))

    def network(self) -> nn.Module:
        """The controller's networks, with a latent half as wide as the hidden layers."""
        return TDMPCStyleNet(self.width, max(self.width // 2, 1))


def _control(angle: Tensor, speed: Tensor) -> Tensor:
    return -torch.tanh(angle.sin() + speed)


def _reward(angle: Tensor, speed: Tensor, action: Tensor) -> Tensor:
    return angle.cos() - 0.1 * speed.square() - 0.1 * action.square()


def _return(angle: Tensor, speed: Tensor, action: Tensor) -> Tensor:
    """Discounted reward of `action` now and of the controller for some steps after it."""
    total, weight = torch.zeros_like(angle), 1.0
    for _ in range(_LOOKAHEAD):
        total = total + weight * _reward(angle, speed, action)
        angle, speed = advance(angle, speed, action)
        action, weight = _control(angle, speed), weight * _DISCOUNT
    return total
