"""The network being pruned: the contract, the registry, and the targets that ship."""

from prune_env.targets.autoencoder import Autoencoder
from prune_env.targets.base import DenseTraining, EntryPoint, PoolSplit, Split, Target
from prune_env.targets.data import DataError
from prune_env.targets.examples import EXAMPLES
from prune_env.targets.module import ModuleTarget
from prune_env.targets.registry import known_targets, make_target, register_target
from prune_env.targets.sb3 import SB3Agent
from prune_env.targets.tdmpc import TDMPC

__all__ = [
    "TDMPC",
    "Autoencoder",
    "DataError",
    "DenseTraining",
    "EntryPoint",
    "ModuleTarget",
    "PoolSplit",
    "SB3Agent",
    "Split",
    "Target",
    "known_targets",
    "make_target",
    "register_target",
]

register_target("autoencoder", Autoencoder)
register_target("tdmpc", TDMPC)
register_target("sb3", SB3Agent)
for _name, _example in EXAMPLES.items():
    register_target(_name, _example)
