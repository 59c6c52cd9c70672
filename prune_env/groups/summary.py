"""The groups of a network as a table of words, for the command line and for reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from prune_env.groups.cost import CostModel
from prune_env.groups.types import Grouping

HEADER = ("group", "kind", "components", "channels", "parameters", "MACs", "members", "locked because")


def group_rows(model: nn.Module, grouping: Grouping, trace: Callable[[nn.Module], Any]) -> list[tuple[str, ...]]:
    """A header and a row for each group; parameters and MACs are what goes when the whole group but one channel goes.

    Args:
        model: The dense network.
        grouping: Its groups.
        trace: The target's `trace`.
    """
    cost = CostModel(model, grouping, trace)
    rows: list[tuple[str, ...]] = [HEADER]
    for g, group in enumerate(grouping.groups):
        widths = grouping.widths.copy()
        widths[g] = 1
        least = cost(widths)
        numbers = (f"{int(cost.dense.parameters - least.parameters):,}", f"{int(cost.dense.macs - least.macs):,}")
        owners, members = ", ".join(group.components), _members(group.members)
        rows.append((group.name, group.kind, owners, str(group.channels), *numbers, members, ""))
    for group in grouping.locked:
        owners = ", ".join(group.components)
        rows.append(
            (group.name, group.kind, owners, str(group.channels), "", "", _members(group.members), group.reason or "")
        )
    totals = (f"{int(cost.dense.parameters):,}", f"{int(cost.dense.macs):,}")
    rows.append(("whole network", "", "", str(int(np.sum(grouping.widths))), *totals, "", ""))
    return rows


def _members(names: tuple[str, ...], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
