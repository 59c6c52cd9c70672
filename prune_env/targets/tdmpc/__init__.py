"""TD-MPC, a model-based controller (Hansen et al. 2022, arXiv 2203.04955), as a network to prune."""

from prune_env.targets.tdmpc.losses import Batch, UpdateConfig
from prune_env.targets.tdmpc.networks import ControllerNet
from prune_env.targets.tdmpc.planner import Plan, Planner
from prune_env.targets.tdmpc.recipes import RECIPES, Recipe
from prune_env.targets.tdmpc.replay import Episodes, Replay
from prune_env.targets.tdmpc.target import TDMPC

__all__ = [
    "RECIPES",
    "TDMPC",
    "Batch",
    "ControllerNet",
    "Episodes",
    "Plan",
    "Planner",
    "Recipe",
    "Replay",
    "UpdateConfig",
]
