"""States that an agent visits: the data of distillation, which the agent being pruned adds to.

Letters: N states, B batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

MOST_BYTES = 2**26
"""Memory of the states; the oldest make room."""


class States:
    """Observations [N, ...] as the policy reads them, the newest at the end.

    Args:
        generator: Draws batches, and seeds of the episodes that are collected.

    Attributes:
        updates: Training steps that were taken on them.
        collected: `updates` when episodes were last added.
        parameters: Size of the network that visited the last ones.
        own_training: What goes on with the agent's own algorithm, where the target does.
    """

    def __init__(self, generator: torch.Generator):
        self.generator = generator
        self.updates, self.collected, self.parameters = 0, -1, 0
        self.own_training: object = None
        self._observations: Tensor | None = None

    def __len__(self) -> int:
        return 0 if self._observations is None else len(self._observations)

    def add(self, observations: list[Tensor]) -> None:
        """Add batches of observations."""
        known = [] if self._observations is None else [self._observations]
        together = torch.cat([*known, *observations])
        most = max(1, MOST_BYTES // max(1, together[0].numel() * together.element_size()))
        self._observations = together[-most:].clone()

    def sample(self, size: int) -> Tensor:
        """A batch [B, ...], drawn with replacement.

        Raises:
            RuntimeError: If there are none yet; the target's `collect` adds some.
        """
        if self._observations is None:
            raise RuntimeError("no states were collected: call the target's collect(model, batch) first")
        return self._observations[torch.randint(len(self), (size,), generator=self.generator)]

    def draw_seeds(self, count: int) -> list[int]:
        """Seeds of episodes."""
        return torch.randint(2**31, (count,), generator=self.generator).tolist()

    def state_dict(self) -> dict[str, Tensor]:
        """Everything but the generator, which belongs to whoever gave it."""
        counts = torch.tensor([self.updates, self.collected, self.parameters])
        return {"counts": counts} | ({} if self._observations is None else {"observations": self._observations})

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put back what `state_dict` returned."""
        self.updates, self.collected, self.parameters = state["counts"].tolist()
        self._observations = state.get("observations")


class StateStream(Iterator[States]):
    """The stream of a target's batches: one `States`, again and again."""

    def __init__(self, generator: torch.Generator):
        self._states = States(generator)

    def __next__(self) -> States:
        return self._states

    def state_dict(self) -> dict[str, Tensor]:
        """Of the states."""
        return self._states.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put back what `state_dict` returned."""
        self._states.load_state_dict(state)


def fixed_seeds(split: str, count: int) -> list[int]:
    """Seeds of the episodes of a split; those of the splits are disjoint, whatever the count."""
    first = {"train": 1, "validation": 1_000_003, "test": 2_000_003}[split]
    return [first + i for i in range(count)]
