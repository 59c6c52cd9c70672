"""Repair of biases: the mean contribution of removed channels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from prune_env.groups import Surgeon
from prune_env.importance.activations import input_statistics, readers
from prune_env.repair.base import Repair
from prune_env.repair.copies import copies_of
from prune_env.targets import Target


class CompensateMeans(Repair):
    """Add the mean contribution of removed channels to the biases of the layers that read them.

    For networks without BatchNorm. The mean is over one training batch, and over the forward passes of the episodes
    that the target collects for it, if any. Target networks are corrected with the same means and their own weights.
    Layers without a bias, transposed and grouped convolutions are not corrected.
    """

    def before_cut(self, target: Target, surgeon: Surgeon, keep: Tensor, batches: Iterator[Any]) -> None:
        """Measure the means, and move the biases."""
        layers = {name: layer for name, layer in readers(surgeon).items() if layer.bias is not None}
        model, batch = surgeon.model.train(), next(batches)
        (means,) = input_statistics(
            layers, [partial(_collect_and_run, target, model, batch)], {"mean": lambda x: x}
        ).values()
        gone = torch.zeros(
            int(surgeon.grouping.widths.sum()) + 1, dtype=torch.bool
        )  # the last entry stands for index -1, no channel
        gone[surgeon.present[~keep]] = True
        for name, mean in means.items():
            removed = gone[surgeon.owner(f"{name}.weight", 1)].nonzero()[:, 0]
            if len(removed):
                for layer in copies_of(surgeon, name):
                    _move_bias(layer, removed.to(mean.device), mean)


def _collect_and_run(target: Target, model: nn.Module, batch: Any) -> None:
    target.collect(model, batch)
    target.loss(model, batch)


@torch.no_grad()
def _move_bias(layer: nn.Module, removed: Tensor, mean: Tensor) -> None:
    weight = layer.get_parameter("weight")[:, removed]
    weight = weight.flatten(2).sum(2) if weight.dim() > 2 else weight  # every position of a kernel sees the mean
    layer.get_parameter("bias").add_(weight @ mean[removed])
