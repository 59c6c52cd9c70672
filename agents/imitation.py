"""Begin where a heuristic is: an agent's first actions are fitted to those of a plain policy.

Where a round is dear and noisy, an agent that starts from equal ratios spends most of its rounds on finding out what a
heuristic knows; one that starts there spends them on what the heuristic gets wrong.
"""

from __future__ import annotations

import torch
from stable_baselines3.common.policies import ActorCriticPolicy

from prune_env.benchmark import make_policy
from prune_env.envs import PruningEnv

_STEPS, _RATE = 1000, 3e-3


def imitate(policy: ActorCriticPolicy, env: PruningEnv, name: str, observations: torch.Tensor) -> float:
    """Fit the mean action to what a policy does on dense networks; the critic and the noise are left as they are.

    Args:
        policy: Of an SB3 algorithm, acting in [-1, 1].
        env: What both are made for.
        name: Of a plain policy.
        observations: [B, G * F].

    Returns:
        Root of the mean squared difference that is left, in units of the action's range of 2.

    Raises:
        ValueError: If the policy is unknown, or privileged: it cannot be asked about observations alone.
    """
    teacher = make_policy(name, env)
    if teacher.privileged:
        raise ValueError(f"imitate: {name!r} is privileged and sees more than observations; choose a plain heuristic")
    ratios = torch.as_tensor(teacher.predict(observations.numpy())[0])
    wanted = 2 * ratios / env.max_ratio - 1
    actor = [p for n, p in policy.named_parameters() if n != "log_std"]
    optimizer = torch.optim.Adam(actor, lr=_RATE)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        mean = policy.get_distribution(observations).mode()
        loss = (mean - wanted).square().mean()
        loss.backward()
        optimizer.step()
    return float(loss.detach().sqrt()) / 2
