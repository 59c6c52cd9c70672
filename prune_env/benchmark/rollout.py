"""Roll out a policy for one episode, the same way in benchmarks, videos and studies."""

from __future__ import annotations

from typing import Any

import numpy as np

from prune_env.benchmark.policies import Policy
from prune_env.envs import PruningEnv


def begin(env: PruningEnv, policy: Policy, network: int, budget: float, seed: int) -> np.ndarray:
    """Start an episode for a policy, and return its first observation [G * F].

    A reference such as no pruning is run without a budget, which would otherwise be met for it.

    Args:
        env: The environment.
        policy: The policy; a random one is seeded.
        network: Index of the dense network in the pool.
        budget: Sparsity to prune to.
        seed: Of the episode's batches, and of the policy.
    """
    given = None if getattr(policy, "reference", False) else budget
    observation, _ = env.reset(seed=seed, options={"network": network, "budget": given})
    if hasattr(policy, "seed"):
        policy.seed(seed)
    return observation


def rollout(env: PruningEnv, policy: Policy, observation: np.ndarray) -> dict[str, Any]:
    """Let a policy prune until the episode is over, and return the last round's info."""
    state, over = None, False
    while not over:
        if policy.privileged:
            policy.attach(env.view)  # type: ignore[attr-defined]
        action, state = policy.predict(observation, state, deterministic=True)
        observation, _, over, _, info = env.step(action)
    return info
