"""A head start: teach a fresh actor to do what a heuristic does, before it learns from rewards what to do better.

It costs no cut network, only observations of dense ones.
"""

from __future__ import annotations

import numpy as np
import torch
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from prune_env.benchmark.policies import make_policy
from prune_env.envs import PruningEnv


def imitate(
    model: OnPolicyAlgorithm,
    normaliser: VecNormalize | None,
    env: PruningEnv,
    heuristic: str,
    *,
    seed: int,
    observations: int = 512,
    steps: int = 1500,
    batch_size: int = 128,
) -> float:
    """Regress the mean action on the heuristic's; returns the mean squared error, in units of the action in [-1, 1].

    Args:
        model: A fresh on-policy model that acts in [-1, 1].
        normaliser: Its observation statistics, which see the same observations.
        env: A training environment.
        heuristic: Name of a plain policy.
        seed: Of the networks and budgets drawn, and of the minibatches.
        observations: How many dense networks to look at.
        steps: Of Adam.
        batch_size: Observations in a step.
    """
    teacher = make_policy(heuristic, env)
    env.reset(seed=seed)
    seen = np.stack([env.reset()[0] for _ in range(observations)])
    ratios, _ = teacher.predict(seen)
    if normaliser is not None:
        normaliser.obs_rms.update(seen)  # type: ignore[union-attr]
        seen = normaliser.normalize_obs(seen)
    inputs = torch.as_tensor(seen, dtype=torch.float32)
    wanted = torch.as_tensor(ratios / env.max_ratio * 2.0 - 1.0)
    optimizer = torch.optim.Adam(model.policy.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        chosen = torch.randint(len(inputs), (batch_size,), generator=generator)
        mean = model.policy.get_distribution(inputs[chosen]).distribution.mean
        loss = torch.nn.functional.mse_loss(mean, wanted[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss)
