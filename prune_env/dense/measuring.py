"""Importance of a network that comes trained and so has no history: from passes over batches, without an update."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from prune_env.dense.train_state import TrainState


def measure_importance(train_state: TrainState, generator: torch.Generator) -> None:
    """Let the tracker observe `importance_passes` passes; nothing else of the train state changes.

    The model is in evaluation mode meanwhile: running statistics stay, and no dropout blurs the gradients.

    Args:
        train_state: The network; what its tracker knew is smoothed on.
        generator: Draws the batches.
    """
    target, passes = train_state.target, train_state.target.dense_training.importance_passes
    if not passes:
        return
    model, tracker = train_state.model, train_state.tracker
    batches = target.batches(generator)
    with _evaluating(model):
        for _ in range(passes):
            target.importance_pass(model, train_state.optimizers, next(batches), tracker.after_backward)
            tracker.after_step()
    for optimizer in train_state.optimizers:
        optimizer.zero_grad(set_to_none=True)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
