"""Stable-Baselines3 agents that prune: train, save, load."""

from prune_env.agents.saved import SavedAgent, load_agent, save_agent
from prune_env.agents.settings import ALGORITHMS, load_hyperparams
from prune_env.agents.train import EnvFactory, train_agent

__all__ = ["ALGORITHMS", "EnvFactory", "SavedAgent", "load_agent", "load_hyperparams", "save_agent", "train_agent"]
