"""Policies of Stable-Baselines3 and sb3-contrib."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import sb3_contrib as contrib
import stable_baselines3 as sb3
import torch
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from torch import nn
from zoo import Trace, add

STATES = gym.spaces.Box(-1.0, 1.0, (17,), np.float32)
FRAMES = gym.spaces.Box(0, 255, (4, 36, 36), np.uint8)
TORQUES = gym.spaces.Box(-1.0, 1.0, (6,), np.float32)
BUTTONS = gym.spaces.Discrete(5)


class Spaces(gym.Env):
    """An environment that has nothing but its spaces."""

    def __init__(self, observations: gym.Space, actions: gym.Space):
        self.observation_space, self.action_space = observations, actions


def _observation(space: gym.Space) -> torch.Tensor:
    """As an environment gives them: in single precision, which the policies insist on."""
    return torch.from_numpy(np.stack(_samples(space)))


def _samples(space: gym.Space) -> list[np.ndarray]:
    space.seed(0)
    return [space.sample() for _ in range(3)]


def _policy(algorithm: Any, kind: str, observations: gym.Space, actions: gym.Space, trace: Any, **options: Any) -> Any:
    agent = algorithm(kind, Spaces(observations, actions), device="cpu", seed=0, **options)
    return trace(agent, observations)


def _on_policy(agent: Any, space: gym.Space) -> tuple[nn.Module, Trace]:
    def trace(policy: nn.Module) -> list[torch.Tensor]:
        x = _observation(space)
        distribution = policy.get_distribution(x).distribution
        actions = distribution.mean if hasattr(distribution, "loc") else distribution.logits
        return [actions, policy.predict_values(x)]

    return agent.policy, trace


class FromTheStart(nn.Module):
    """A recurrent policy in the first two steps of an episode; it makes its states, as wide as its LSTMs are now."""

    def __init__(self, policy: nn.Module):
        super().__init__()
        self.policy = policy

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        widths = (self.policy.lstm_actor.hidden_size, self.policy.lstm_critic.hidden_size)
        states = RNNStates(*((torch.zeros(1, len(x), n), torch.zeros(1, len(x), n)) for n in widths))
        outputs = []
        for _ in range(2):
            actions, values, _, states = self.policy(x, states, torch.zeros(len(x)), deterministic=True)
            outputs += [actions, values]
        return outputs


def _recurrent(agent: Any, space: gym.Space) -> tuple[nn.Module, Trace]:
    return FromTheStart(agent.policy), lambda policy: policy(_observation(space))


def _actor_critic(agent: Any, space: gym.Space) -> tuple[nn.Module, Trace]:
    actions = torch.from_numpy(np.stack(_samples(TORQUES)))

    def trace(parts: Any) -> list[torch.Tensor]:
        x = _observation(space)
        outputs = [parts["critic"](x, actions)]
        if hasattr(parts["actor"], "get_action_dist_params"):
            return [*outputs, *parts["actor"].get_action_dist_params(x)[:2]]
        return [*outputs, parts["actor"](x)]

    return nn.ModuleDict({"actor": agent.policy.actor, "critic": agent.policy.critic}), trace


def _values(agent: Any, space: gym.Space) -> tuple[nn.Module, Trace]:
    network = getattr(agent.policy, "q_net", None) or agent.policy.quantile_net
    return network, lambda q: q(_observation(space))


SMALL = {"buffer_size": 10}
for library, algorithm, trace, actions, options, bar in (
    ("SB3", sb3.PPO, _on_policy, TORQUES, {}, 0.95),
    ("SB3", sb3.A2C, _on_policy, TORQUES, {}, 0.0),
    ("SB3", sb3.SAC, _actor_critic, TORQUES, SMALL, 0.95),
    ("SB3", sb3.TD3, _actor_critic, TORQUES, SMALL, 0.95),
    ("SB3", sb3.DDPG, _actor_critic, TORQUES, SMALL, 0.0),
    ("SB3", sb3.DQN, _values, BUTTONS, SMALL, 0.95),
    ("sb3-contrib", contrib.TQC, _actor_critic, TORQUES, SMALL, 0.0),
    ("sb3-contrib", contrib.QRDQN, _values, BUTTONS, SMALL, 0.0),
    ("sb3-contrib", contrib.TRPO, _on_policy, TORQUES, {}, 0.0),
):
    make = partial(_policy, algorithm, "MlpPolicy", STATES, actions, trace, **options)
    add(library, f"{algorithm.__name__} MLP", make, bar)
for algorithm, trace, options in ((sb3.PPO, _on_policy, {}), (sb3.DQN, _values, SMALL)):
    make = partial(_policy, algorithm, "CnnPolicy", FRAMES, BUTTONS, trace, **options)
    add("SB3", f"{algorithm.__name__} CNN", make, 0.95)
add(
    "sb3-contrib",
    "RecurrentPPO MLP",
    partial(
        _policy,
        contrib.RecurrentPPO,
        "MlpLstmPolicy",
        STATES,
        TORQUES,
        _recurrent,
        policy_kwargs={"lstm_hidden_size": 32},
    ),
    0.95,
)
