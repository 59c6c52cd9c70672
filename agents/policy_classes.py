"""Which policy over groups belongs to which algorithm."""

from __future__ import annotations

from stable_baselines3.common.policies import BasePolicy

from prune_env.agents.policies import GroupPolicy, GroupSACPolicy, GroupTD3Policy


def group_policy(algorithm: str) -> type[BasePolicy]:
    """The policy over groups of an algorithm by name; that of TQC needs sb3-contrib.

    Raises:
        ValueError: If there is none for the algorithm.
    """
    if algorithm == "tqc":
        from prune_env.agents.tqc_policy import GroupTQCPolicy

        return GroupTQCPolicy
    known: dict[str, type[BasePolicy]] = {
        **dict.fromkeys(("ppo", "a2c", "trpo"), GroupPolicy),
        "sac": GroupSACPolicy,
        **dict.fromkeys(("td3", "ddpg"), GroupTD3Policy),
    }
    if algorithm not in known:
        raise ValueError(f"there is no policy over groups for {algorithm}; give policy=MlpPolicy")
    return known[algorithm]
