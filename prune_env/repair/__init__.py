"""Post-pruning repair, before fine-tuning: statistics and biases that fit the smaller network.

An open set: a new repair is a subclass of `Repair` and an entry of `REPAIRS` (or a call of `register_repair`).
"""

from prune_env.open_sets import add
from prune_env.repair.base import Repair
from prune_env.repair.batchnorm import RecalibrateBatchNorm
from prune_env.repair.mean import CompensateMeans

__all__ = ["REPAIRS", "CompensateMeans", "RecalibrateBatchNorm", "Repair", "register_repair"]

REPAIRS: dict[str, Repair] = {"batchnorm": RecalibrateBatchNorm(), "mean": CompensateMeans(), "none": Repair()}
"""Name -> repair."""


def register_repair(name: str, repair: Repair) -> None:
    """Make a repair known by name.

    Raises:
        ValueError: If the name is taken by another repair.
    """
    add("repair", name, repair, REPAIRS)
