"""Criteria that read a measure of training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from prune_env.importance.criteria.base import Criterion, CriterionContext
from prune_env.importance.measures import MEASURES
from prune_env.importance.tracker import ImportanceTracker


class Tracked(Criterion):
    """A measure of `MEASURES`, smoothed over training steps.

    If the network trained without it (an older checkpoint), it is measured over calibration batches instead.
    """

    def __init__(self, measure: str):
        self.measures = (measure,)
        self.signed = MEASURES[measure].signed  # type: ignore[misc]

    def values(self, context: CriterionContext) -> Tensor:
        """What the tracker has of it, [W]."""
        (measure,) = self.measures
        return (_measured(context, measure) if context.tracker.lacks(measure) else context.tracker).channel(measure)


def _measured(context: CriterionContext, measure: str) -> ImportanceTracker:
    """A tracker that has seen the gradients of the calibration batches; the model's own gradients are put back."""
    model, tracker = context.surgeon.model, ImportanceTracker(context.surgeon, context.tracker.config, (measure,))
    parameters = [p for p in model.parameters() if p.requires_grad]
    before = [p.grad for p in parameters]
    optimizer = torch.optim.SGD(parameters, lr=0.0)  # stands for all parameters

    def use(batch: Any, _: torch.Generator) -> None:
        for p in parameters:
            p.grad = None
        for loss, trained in context.target.losses(model, batch):
            wanted = [p for p in trained if p.requires_grad]
            loss.backward(inputs=wanted, retain_graph=True)
        tracker.after_backward(optimizer)
        tracker.after_step()

    try:
        context.derivatives(use)
    finally:
        for p, gradient in zip(parameters, before, strict=True):
            p.grad = gradient
    return tracker
