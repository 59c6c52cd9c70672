"""Repair of running statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from prune_env.repair.base import Repair
from prune_env.targets import Target


class RecalibrateBatchNorm(Repair):
    """Recompute the running statistics of every BatchNorm as their mean over `count` training batches.

    EagleEye (Li et al. 2020, arXiv 2007.02491) calls it adaptive batch normalisation: a cut shifts the statistics of
    all layers behind it, and without recalibration the score right after a cut says almost nothing of the score after
    fine-tuning (rank correlation 0.09 against 0.93, measured on the autoencoder at half its size).

    Args:
        count: How many batches.
    """

    def __init__(self, count: int = 4):
        self._count = count

    def after_cut(self, target: Target, model: nn.Module, batches: Iterator[Any]) -> None:
        """Run training batches through the model, without gradients."""
        norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
        if not norms:
            return
        momenta = [norm.momentum for norm in norms]
        calls: Counter[nn.Module] = Counter()

        def average(norm: nn.Module, inputs: Any) -> None:
            # The cumulative average of momentum=None, counted on the CPU so that nothing waits for the device.
            calls[norm] += 1
            norm.momentum = 1.0 / calls[norm]  # type: ignore[assignment]

        handles = [norm.register_forward_pre_hook(average) for norm in norms]
        try:
            for norm in norms:
                norm.reset_running_stats()
            model.train()
            with torch.no_grad():
                for _ in range(self._count):
                    batch = next(batches)
                    target.collect(model, batch)
                    target.loss(model, batch)
        finally:
            for handle, norm, momentum in zip(handles, norms, momenta, strict=True):
                handle.remove()
                norm.momentum = momentum
