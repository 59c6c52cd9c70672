"""Channel criteria, an open set: a number for each channel, which says what goes first within a group (the lowest).

Nothing is normalised: numbers of different groups compare as they are. A new one is a subclass of `Criterion` and an
entry of `CRITERIA` (or a call of `register_criterion`).

Letters: W present channels of all groups, flat in group order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from prune_env.groups import Surgeon
from prune_env.importance.activations import channel_activations
from prune_env.importance.channels import ChannelSums, Power
from prune_env.importance.measures import MEASURES
from prune_env.importance.tracker import ImportanceTracker
from prune_env.open_sets import add, find
from prune_env.targets import Target

CALIBRATION_BATCHES = 4
"""Over how many training batches activations are averaged."""


@dataclass
class CriterionContext:
    """What criteria can ask for; share one between the criteria of one cut, so that activations are measured once.

    Attributes:
        target: The task, for calibration batches.
        surgeon: Holds the model, its groups and present channels.
        tracker: What was measured while the network trained.
        generator: For criteria that draw random numbers.
    """

    target: Target
    surgeon: Surgeon
    tracker: ImportanceTracker
    generator: torch.Generator

    @cached_property
    def activations(self) -> Mapping[str, Tensor]:
        """Activation statistics by name, [W] each, from one pass over calibration batches.

        The batches are always the same and are drawn apart from those of training. The model is in evaluation mode.
        """
        model = self.surgeon.model
        training = model.training
        model.eval()
        try:
            return channel_activations(self.surgeon, self._passes())
        finally:
            model.train(training)

    def _passes(self) -> Iterator[Any]:
        batches = self.target.batches(torch.Generator().manual_seed(0))
        for _ in range(CALIBRATION_BATCHES):
            yield partial(self._collect_and_run, next(batches))

    def _collect_and_run(self, batch: Any) -> None:
        self.target.collect(self.surgeon.model, batch)
        self.target.loss(self.surgeon.model, batch)


class Criterion:
    """How much a channel is worth; the channels with the lowest values of a group go first.

    Attributes:
        measures: Measures that it reads, which the tracker has to track.
        draws: Whether it draws from the context's generator, so that asking twice gives other numbers.
    """

    measures: tuple[str, ...] = ()
    draws: ClassVar[bool] = False

    def values(self, context: CriterionContext) -> Tensor:
        """One value for each present channel, [W]."""
        raise NotImplementedError(f"{type(self).__name__} must implement values(context)")


class Norm(Criterion):
    """Norm of the channel's weights and bias in the root layer: L1, sum |w|, or L2, sqrt(sum w^2)."""

    def __init__(self, order: int):
        self._order = order

    def values(self, context: CriterionContext) -> Tensor:
        """The norms, [W]."""
        sums = ChannelSums(context.surgeon)
        power: Power = "absolute" if self._order == 1 else "square"
        totals = sums.sum(sums.parameters, power)
        return totals if self._order == 1 else totals.sqrt()


class Tracked(Criterion):
    """A measure of `MEASURES`, smoothed over training steps."""

    def __init__(self, measure: str):
        self.measures = (measure,)

    def values(self, context: CriterionContext) -> Tensor:
        """What the tracker has of it, [W]."""
        return context.tracker.channel(self.measures[0])


class Activation(Criterion):
    """Mean magnitude of the channel's activation, as the layers that read it get it, over calibration batches.

    With the values after a ReLU this ranks like the mean activation of Molchanov et al. 2017 (arXiv 1611.06440).
    """

    def values(self, context: CriterionContext) -> Tensor:
        """Mean |a|, [W]; 0 for a channel that no linear or convolution layer reads."""
        return context.activations["mean_abs"]


class Random(Criterion):
    """Uniform in [0, 1)."""

    draws = True

    def values(self, context: CriterionContext) -> Tensor:
        """Random numbers, [W]."""
        return torch.rand(len(context.surgeon.present), generator=context.generator)


CRITERIA: dict[str, Criterion] = {
    "l1": Norm(1),
    "l2": Norm(2),
    "gradient": Tracked("gradient"),
    "fisher": Tracked("fisher"),
    "fisher_weight": Tracked("fisher_weight"),
    "taylor": Tracked("taylor"),
    "activation": Activation(),
    "random": Random(),
}
"""Name -> criterion."""


def register_criterion(name: str, criterion: Criterion) -> None:
    """Make a criterion known by name.

    Raises:
        ValueError: If the name is taken by another criterion, or the criterion reads an unknown measure.
    """
    for measure in criterion.measures:
        find("measure", measure, MEASURES)
    add("criterion", name, criterion, CRITERIA)
