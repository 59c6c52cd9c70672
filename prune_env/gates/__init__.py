"""Learned gates: one per channel, which train with the network; the channels whose gates are closed are then removed.

An open set: a new rule is a subclass of `GateRule` and an entry of `GATES` (or a call of `register_gates`). Where it is
a dataclass, its fields are options that can be given by name, as in `l0:rate=0.1`.
"""

from prune_env.gates.channel_gates import ChannelGates
from prune_env.gates.masks import DynamicSurgery, RigL
from prune_env.gates.rules import GateRule, GateState
from prune_env.gates.stochastic import Gumbel, HardConcrete, VariationalDropout
from prune_env.gates.thresholds import Slimming, SoftThreshold
from prune_env.open_sets import add

__all__ = [
    "GATES",
    "ChannelGates",
    "DynamicSurgery",
    "GateRule",
    "GateState",
    "Gumbel",
    "HardConcrete",
    "RigL",
    "Slimming",
    "SoftThreshold",
    "VariationalDropout",
    "register_gates",
]

GATES: dict[str, GateRule] = {
    "l0": HardConcrete(),
    "gumbel": Gumbel(),
    "variational": VariationalDropout(),
    "str": SoftThreshold(),
    "slimming": Slimming(),
    "dynamic-surgery": DynamicSurgery(),
    "rigl": RigL(),
}
"""Name -> rule of gates."""


def register_gates(name: str, rule: GateRule) -> None:
    """Make a rule of gates known by name.

    Raises:
        ValueError: If the name is taken by another rule.
    """
    add("gates", name, rule, GATES)
