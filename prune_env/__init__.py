"""A Gymnasium environment for learned pruning of networks made of several components."""

from prune_env.envs import PruningEnv, register_environments
from prune_env.targets import Target, known_targets, make_target, register_target

__version__ = "0.1.0"
__all__ = ["PruningEnv", "Target", "__version__", "known_targets", "make_target", "register_target"]

register_environments()
