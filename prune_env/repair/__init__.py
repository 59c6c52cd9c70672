"""Post-pruning repair, before fine-tuning: statistics and biases that fit the smaller network.

An open set: a new repair is a subclass of `Repair` and an entry of `REPAIRS` (or a call of `register_repair`). Where it
is a dataclass, its fields are options that can be given by name, as in `ridge:strength=0.01`.
"""

from prune_env.open_sets import add
from prune_env.repair.base import Repair
from prune_env.repair.batchnorm import RecalibrateBatchNorm
from prune_env.repair.brain_surgeon import BrainSurgeon
from prune_env.repair.mean import CompensateMeans
from prune_env.repair.ridge import Ridge

__all__ = [
    "REPAIRS",
    "BrainSurgeon",
    "CompensateMeans",
    "RecalibrateBatchNorm",
    "Repair",
    "Ridge",
    "register_repair",
]

REPAIRS: dict[str, Repair] = {
    "batchnorm": RecalibrateBatchNorm(),
    "mean": CompensateMeans(),
    "ridge": Ridge(),
    "obs": BrainSurgeon(),
    "none": Repair(),
}
"""Name -> repair."""


def register_repair(name: str, repair: Repair) -> None:
    """Make a repair known by name.

    Raises:
        ValueError: If the name is taken by another repair.
    """
    add("repair", name, repair, REPAIRS)
