"""The contract of a repair."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from prune_env.groups import Surgeon
from prune_env.targets import Target


class Repair:
    """Post-pruning repair, before fine-tuning. This class does nothing; subclasses override one method or both."""

    def before_cut(self, target: Target, surgeon: Surgeon, keep: Tensor, batches: Iterator[Any]) -> None:
        """Prepare the model while the channels are still present.

        Args:
            target: The task.
            surgeon: Holds the model, its target networks and its groups.
            keep: False for the channels that are about to be removed, bool [W] over all present channels.
            batches: Training batches of the target.
        """

    def after_cut(self, target: Target, model: nn.Module, batches: Iterator[Any]) -> None:
        """Repair the pruned model.

        Args:
            target: The task.
            model: The model after the cut.
            batches: Training batches of the target.
        """
