"""Learned gates as policies."""

from prune_env.baselines.gates.training import LEARNED_GATES, GateTraining

__all__ = ["LEARNED_GATES", "GateTraining"]
