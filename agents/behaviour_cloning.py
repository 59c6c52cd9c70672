"""Behaviour cloning: warm-start the actor from a heuristic, before reinforcement learning.

Where rounds are expensive and noisy, an agent that starts from equal ratios spends most of them on what a heuristic
already knows; a warm-started one spends them on improving the heuristic.

Letters: B observations, G groups, F columns.
"""

from __future__ import annotations

import torch

from prune_env.agents.action_scales import ACTION_SCALES
from prune_env.agents.policies import Grouped, GroupTD3Policy, mean_actions
from prune_env.benchmark import make_policy
from prune_env.envs import PruningEnv

_STEPS, _LEARNING_RATE = 1000, 3e-3


def clone_behaviour(
    policy: Grouped, env: PruningEnv, name: str, observations: torch.Tensor, scale: str = "ratio"
) -> float:
    """Fit the mean action to a plain policy's actions on dense networks; critic and noise stay as they are.

    Args:
        policy: Policy of an SB3 algorithm, acting in [-1, 1].
        env: The environment of both.
        name: Name of a plain policy.
        observations: [B, G * F].
        scale: Of the policy's actions, a name of `ACTION_SCALES`.

    Returns:
        Remaining root mean square error, as a share of the action's range of 2.

    Raises:
        ValueError: If the policy is unknown, or privileged and therefore no function of observations.
    """
    expert = make_policy(name, env)
    if expert.privileged:
        raise ValueError(
            f"behaviour_cloning: {name!r} is privileged and sees more than observations; choose a plain heuristic"
        )
    ratios = expert.predict(observations.numpy())[0]
    actions = torch.as_tensor(ACTION_SCALES[scale].to_actions(ratios, env.max_ratio), dtype=torch.float32)
    encoder, output, _ = policy.acting()
    optimizer = torch.optim.Adam([*encoder.parameters(), *output.parameters()], lr=_LEARNING_RATE)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        loss = (mean_actions(policy, observations) - actions).square().mean()
        loss.backward()
        optimizer.step()
    if isinstance(policy, GroupTD3Policy):
        policy.actor_target.load_state_dict(policy.actor.state_dict())
    return float(loss.detach().sqrt()) / 2
