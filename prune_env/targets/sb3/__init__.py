"""Agents of Stable-Baselines3 as targets: loaded from their zip, pruned, and written as a zip again."""

from prune_env.targets.sb3.target import SB3Agent

__all__ = ["SB3Agent"]
