"""The contract of a channel criterion, and what criteria can ask for.

Letters: W present channels of all groups, flat in group order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from prune_env.groups import Surgeon
from prune_env.importance.activations import Activations
from prune_env.importance.tracker import ImportanceTracker
from prune_env.targets import Target

CALIBRATION_BATCHES = 4
"""Training batches over which criteria measure what layers read."""


@dataclass
class CriterionContext:
    """What criteria can ask for; share one between the criteria of one cut, so that activations are measured once.

    Calibration batches are the target's training batches, drawn from the seed of the episode's generator but apart from
    those that it trains on: asking changes nothing, and asking twice gives the same numbers.

    Attributes:
        target: The task, for calibration batches.
        surgeon: Holds the model, its groups and present channels.
        tracker: What was measured while the network trained.
        generator: For criteria that draw random numbers.
        rows: Whether the pass over calibration batches keeps rows, for criteria of least squares.
    """

    target: Target
    surgeon: Surgeon
    tracker: ImportanceTracker
    generator: torch.Generator
    rows: bool = False

    @cached_property
    def activations(self) -> Activations:
        """What the layers read, from one pass over calibration batches with the model in evaluation mode."""
        return self._in_evaluation_mode(lambda: Activations(self.surgeon, self._passes(), self.rows))

    @cached_property
    def activations_with_rows(self) -> Activations:
        """The same with rows kept; another pass where `activations` were measured without."""
        self.rows = True
        if "activations" in self.__dict__ and not self.activations.has_rows:
            del self.activations
        return self.activations

    def batches(self, count: int = CALIBRATION_BATCHES) -> Iterator[Any]:
        """The first calibration batches."""
        batches = self.target.batches(self._generator())
        for _ in range(count):
            batch = next(batches)
            self.target.collect(self.surgeon.model, batch)
            yield batch

    def derivatives(self, use: Callable[[Any, torch.Generator], None], count: int = CALIBRATION_BATCHES) -> None:
        """Call `use` with each of the first calibration batches, with gradients on and the model in evaluation mode.

        Args:
            use: Gets a batch, and a generator of its own.
            count: Batches.
        """

        def run() -> None:
            generator = self._generator(1)
            with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # recurrent layers, twice backward
                for batch in self.batches(count):
                    use(batch, generator)

        self._in_evaluation_mode(run)

    def _generator(self, number: int = 0) -> torch.Generator:
        return torch.Generator().manual_seed((self.generator.initial_seed() + number) % 2**63)

    def _passes(self) -> Iterator[tuple[Tensor | None, Callable[[], Any]]]:
        for batch in self.batches():
            yield self.target.labels(batch), partial(self.target.loss, self.surgeon.model, batch)

    def _in_evaluation_mode(self, action: Callable[[], Any]) -> Any:
        model = self.surgeon.model
        modes = {module: module.training for module in model.modules()}
        model.eval()
        try:
            return action()
        finally:
            for module, mode in modes.items():
                module.training = mode


class Criterion:
    """How much a channel is worth; the channels with the lowest values of a group go first.

    A criterion with options is a frozen dataclass: `hessian:probes=16` names a copy with another field.

    Attributes:
        measures: Measures that it reads, which the tracker has to track.
        draws: Whether it draws from the context's generator, so that asking twice gives other numbers.
        signed: Whether values can be negative.
        costly: Whether it needs derivatives or an optimisation of its own, so that no observation shows it.
    """

    measures: tuple[str, ...] = ()
    draws: ClassVar[bool] = False
    signed: ClassVar[bool] = False
    costly: ClassVar[bool] = False

    def values(self, context: CriterionContext) -> Tensor:
        """One value for each present channel, [W]."""
        raise NotImplementedError(f"{type(self).__name__} must implement values(context)")

    def check(self, target: Target) -> None:
        """Whether it can be used with a target.

        Raises:
            ValueError: If the target lacks what it needs; by default never.
        """


class Random(Criterion):
    """Uniform in [0, 1)."""

    draws = True

    def values(self, context: CriterionContext) -> Tensor:
        """Random numbers, [W]."""
        return torch.rand(len(context.surgeon.present), generator=context.generator)
