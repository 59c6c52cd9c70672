"""The decision problem: observation, action, reward, and the environment itself."""

from prune_env.envs.episode import COLLAPSED, Episode
from prune_env.envs.network_view import NetworkView
from prune_env.envs.objectives import OBJECTIVES, Terms
from prune_env.envs.observation import FORMS, Column
from prune_env.envs.pruning import PruningEnv
from prune_env.envs.registration import ENVIRONMENTS, register_environments

__all__ = [
    "COLLAPSED",
    "ENVIRONMENTS",
    "FORMS",
    "OBJECTIVES",
    "Column",
    "Episode",
    "NetworkView",
    "PruningEnv",
    "Terms",
    "register_environments",
]
