"""What is done right after a cut, before training goes on: normalisation statistics that fit the smaller network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from prune_env.targets import Target

Repair = Callable[[Target, nn.Module, Iterator[Any]], None]


def recalibrate_batchnorm(target: Target, model: nn.Module, batches: Iterator[Any], count: int = 4) -> None:
    """Replace the running statistics of every BatchNorm by their mean over `count` training batches.

    A cut shifts the statistics of everything behind it. Without this, the score right after a cut says almost nothing
    of the score after fine-tuning (rank correlation 0.09 against 0.93, measured on the autoencoder at half its size).
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
    model.train()
    with torch.no_grad():
        for _ in range(count):
            target.loss(model, next(batches))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def leave_as_cut(target: Target, model: nn.Module, batches: Iterator[Any]) -> None:
    """No repair."""


REPAIRS: dict[str, Repair] = {"batchnorm": recalibrate_batchnorm, "none": leave_as_cut}
