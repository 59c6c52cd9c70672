"""What `prune` returns: the smaller network, and how to take it home."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from prune_env.api.report import Report
from prune_env.export import save_pruned
from prune_env.targets import Target


@dataclass(frozen=True)
class Pruned:
    """A pruned network.

    Attributes:
        model: The network, physically smaller.
        report: What went, what it costs and scores before and after, and what was tried.
        target: The task.
        dense: The dense network, for comparisons.
    """

    model: nn.Module
    report: Report
    target: Target
    dense: nn.Module

    def save(self, folder: str | Path) -> Path:
        """Write the network and its report into a folder, from which `load_pruned` makes it; nothing is pickled.

        Raises:
            ValueError: If the network holds state that is no tensor.
            OSError: If it cannot be written.
        """
        return save_pruned(self.model, folder, self.report.asdict())

    def __str__(self) -> str:
        return str(self.report)
