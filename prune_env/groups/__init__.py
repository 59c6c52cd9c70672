"""What can be removed from a network: discovery, verification, surgery and cost of its pruning groups."""

from prune_env.groups.cost import Cost, CostModel, count_cost, idle_components
from prune_env.groups.discovery import discover
from prune_env.groups.layer_attributes import declare_widths
from prune_env.groups.surgery import Snapshot, Surgeon
from prune_env.groups.types import Group, Grouping, Slice
from prune_env.groups.verification import verify

__all__ = [
    "Cost",
    "CostModel",
    "Group",
    "Grouping",
    "Slice",
    "Snapshot",
    "Surgeon",
    "count_cost",
    "declare_widths",
    "discover",
    "idle_components",
    "verify",
]
