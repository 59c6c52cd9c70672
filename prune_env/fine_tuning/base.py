"""The contract of a way of fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from prune_env.dense import Network
from prune_env.training import Observer


class FineTuning:
    """Training on the task as it is. Subclasses override one method or more."""

    def begin(self, network: Network) -> None:
        """Called at the start of an episode, when the network is dense.

        Args:
            network: The network.

        Raises:
            ValueError: If this network cannot be trained so; the episode does not begin then.
        """

    def after_cut(self, network: Network, seed: int) -> None:
        """Called after a cut and before the repair's `after_cut`, to change the weights that stay.

        Args:
            network: The network, cut.
            seed: For whatever is drawn.
        """

    def training(self, network: Network, batches: Iterator[Any]) -> tuple[Iterator[Any], Sequence[Observer]]:
        """What trains the network.

        Args:
            network: The network, cut and repaired.
            batches: Training batches.

        Returns:
            The batches to train on, and observers that go before those that measure importance.
        """
        return batches, ()
