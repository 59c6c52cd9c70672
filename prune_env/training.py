"""The training loop, to which importance and regularisation attach as observers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from prune_env.targets import Target


class Observer(Protocol):
    """A callback of the training loop, such as `ImportanceTracker` and `CosineL1`."""

    def after_backward(self, optimizer: torch.optim.Optimizer) -> None:
        """Called when the gradients of this optimizer's parameters are complete, before it steps."""

    def after_step(self) -> None:
        """Called when all optimizers have stepped."""

    def after_surgery(self, keep: torch.Tensor) -> None:
        """Called after a cut: channels where `keep`, bool [W], is False are gone, and parameters are new objects."""


def train(
    target: Target,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    batches: Iterator[Any],
    steps: int,
    observers: Sequence[Observer] = (),
    progress: Callable[[int], None] | None = None,
) -> float:
    """Train for a number of steps.

    The loss is read once, at the end: reading it in every step would wait for the device.

    Args:
        target: The task.
        model: The model; it is left in training mode.
        optimizers: Those that `target.optimizers` returned.
        batches: Training batches.
        steps: Training steps.
        observers: Called in every step, in this order.
        progress: Called after every step, with the number of steps done.

    Returns:
        The mean task loss; NaN if it is not finite, so that the network has diverged; 0 without steps.
    """
    if steps == 0:
        return 0.0

    def after_backward(optimizer: torch.optim.Optimizer) -> None:
        for observer in observers:
            observer.after_backward(optimizer)

    model.train()
    total: torch.Tensor | None = None
    for step in range(steps):
        loss = target.training_step(model, optimizers, next(batches), after_backward)
        total = loss if total is None else total + loss
        for observer in observers:
            observer.after_step()
        if progress is not None:
            progress(step + 1)
    mean = float(total) / steps  # type: ignore[arg-type]  # there was a step
    return mean if math.isfinite(mean) else math.nan
