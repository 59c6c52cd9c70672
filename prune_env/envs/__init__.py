"""The decision problem: observation, action, reward, and the environment itself."""

from prune_env.envs.config import EPISODE_FIELDS, PruningConfig
from prune_env.envs.costs import COSTS, MEASURED_COSTS, register_cost
from prune_env.envs.episode import COLLAPSED, Episode
from prune_env.envs.log_ratio import LogRatioAction
from prune_env.envs.network_view import NetworkView
from prune_env.envs.objectives import OBJECTIVES, Terms, register_objective
from prune_env.envs.observation import FORMS, Column
from prune_env.envs.pruning import PruningEnv
from prune_env.envs.registration import ENVIRONMENTS, ZOO, register_environments
from prune_env.envs.schedules import SCHEDULES, register_schedule
from prune_env.envs.vector import SyncVectorRewardEnv
from prune_env.envs.zoo import ZooEnv

__all__ = [
    "COLLAPSED",
    "COSTS",
    "ENVIRONMENTS",
    "EPISODE_FIELDS",
    "FORMS",
    "MEASURED_COSTS",
    "OBJECTIVES",
    "SCHEDULES",
    "ZOO",
    "Column",
    "Episode",
    "LogRatioAction",
    "NetworkView",
    "PruningConfig",
    "PruningEnv",
    "SyncVectorRewardEnv",
    "Terms",
    "ZooEnv",
    "register_cost",
    "register_environments",
    "register_objective",
    "register_schedule",
]
