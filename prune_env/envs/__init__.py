"""The decision problem: observation, action, reward, and the environment itself."""

from prune_env.envs.checkpoints import (
    CheckpointSpec,
    export_checkpoint,
    history,
    identify,
    is_cached,
    load_checkpoint,
)
from prune_env.envs.dense import DenseTrainingError, Look
from prune_env.envs.episode import COLLAPSED, Episode
from prune_env.envs.files import cache_folder, canonical_json, config_hash, write_atomically
from prune_env.envs.network import Network, Pool
from prune_env.envs.objective import OBJECTIVES, Terms
from prune_env.envs.observation import FORMS, Column
from prune_env.envs.pruning import PruningEnv
from prune_env.envs.registration import ENVIRONMENTS, register_environments
from prune_env.envs.view import NetworkView

__all__ = [
    "COLLAPSED",
    "ENVIRONMENTS",
    "FORMS",
    "OBJECTIVES",
    "CheckpointSpec",
    "Column",
    "DenseTrainingError",
    "Episode",
    "Look",
    "Network",
    "NetworkView",
    "Pool",
    "PruningEnv",
    "Terms",
    "cache_folder",
    "canonical_json",
    "config_hash",
    "export_checkpoint",
    "history",
    "identify",
    "is_cached",
    "load_checkpoint",
    "register_environments",
    "write_atomically",
]
