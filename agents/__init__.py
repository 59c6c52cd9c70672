"""Stable-Baselines3 agents that prune: train, tune, save, load."""

from prune_env.agents.hyperparameters import check_hyperparams, read_hyperparams
from prune_env.agents.saved import SavedAgent, load_agent, save_agent
from prune_env.agents.search_spaces import SEARCH_SPACES
from prune_env.agents.settings import ALGORITHMS, load_hyperparams
from prune_env.agents.trackers import TRACKERS
from prune_env.agents.train import EnvFactory, train_agent
from prune_env.agents.tune import tune_agent
from prune_env.agents.universal import UniversalPolicy, export_policy, load_universal

__all__ = [
    "ALGORITHMS",
    "SEARCH_SPACES",
    "TRACKERS",
    "EnvFactory",
    "SavedAgent",
    "UniversalPolicy",
    "check_hyperparams",
    "export_policy",
    "load_agent",
    "load_hyperparams",
    "load_universal",
    "read_hyperparams",
    "save_agent",
    "train_agent",
    "tune_agent",
]
