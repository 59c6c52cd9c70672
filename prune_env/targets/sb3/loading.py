"""The networks of an agent, and what it acts in; kept for the next time, as many things ask for the same ones."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from prune_env.isolation import isolated
from prune_env.targets.sb3.networks import AgentNet
from prune_env.targets.sb3.simulation import Normalizer, Simulator
from prune_env.targets.sb3.source import AgentSource


@isolated()
def networks_of(agent: Any) -> AgentNet:
    """The networks of an SB3 agent, which they stay a part of.

    Raises:
        ValueError: If its observations or its policy are of a kind that cannot be pruned.
    """
    from prune_env.targets.sb3.actor_critic import ActorCriticNet
    from prune_env.targets.sb3.on_policy import OnPolicyNet
    from prune_env.targets.sb3.q_network import QNet

    policy = agent.policy
    if hasattr(agent.observation_space, "spaces"):
        raise ValueError(f"observations are {agent.observation_space}; agents that read one array can be pruned")
    if hasattr(policy, "mlp_extractor"):
        return OnPolicyNet(policy)
    return QNet(policy) if hasattr(policy, "q_net") else ActorCriticNet(policy)


@lru_cache(maxsize=8)
def dense_networks(source: AgentSource, device: str) -> AgentNet:
    """The dense networks, without gradients; not to be changed."""
    return networks_of(source.load()).eval().requires_grad_(False).to(device)


@lru_cache(maxsize=8)
def simulator_of(source: AgentSource, env_id: str, env_kwargs: str, vec_normalize: bytes | None) -> Simulator:
    """The environment of an agent; `env_kwargs` are JSON, `vec_normalize` is the content of that file."""
    dense = dense_networks(source, "cpu")
    normalizer = None if vec_normalize is None else Normalizer(vec_normalize)
    return Simulator(env_id, json.loads(env_kwargs), dense.observation_space, dense.action_space, normalizer)
