"""What is done about a cut, before training goes on: statistics and biases that fit the smaller network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from prune_env.groups import Surgeon
from prune_env.targets import Target


class Repair:
    """No repair; others override what is done before a cut, after it, or both."""

    def before_cut(self, target: Target, surgeon: Surgeon, keep: Tensor, batches: Iterator[Any]) -> None:
        """Channels where `keep` (bool [W]) is False are about to go."""

    def after_cut(self, target: Target, model: nn.Module, batches: Iterator[Any]) -> None:
        """They are gone."""


class RecalibrateBatchNorm(Repair):
    """Replace the running statistics of every BatchNorm by their mean over `count` training batches.

    A cut shifts the statistics of everything behind it. Without this, the score right after a cut says almost nothing
    of the score after fine-tuning (rank correlation 0.09 against 0.93, measured on the autoencoder at half its size).
    """

    def __init__(self, count: int = 4):
        self._count = count

    def after_cut(self, target: Target, model: nn.Module, batches: Iterator[Any]) -> None:
        """Run training batches through the model."""
        norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
        if not norms:
            return
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative mean
        model.train()
        with torch.no_grad():
            for _ in range(self._count):
                target.loss(model, next(batches))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


class CompensateMeans(Repair):
    """Add what the removed channels gave on average to the biases of the layers that read them.

    For networks without BatchNorm: whatever reads a channel then finds its mean in its place instead of nothing. The
    mean is over one training batch. Slow copies are mended with the same means and their own weights. Layers without a
    bias, transposed and grouped convolutions are let be.
    """

    def before_cut(self, target: Target, surgeon: Surgeon, keep: Tensor, batches: Iterator[Any]) -> None:
        """Measure the means, and move the biases."""
        readers = _readers(surgeon)
        means = _mean_inputs(target, surgeon.model, readers, next(batches))
        gone = torch.zeros(int(surgeon.grouping.widths.sum()) + 1, dtype=torch.bool)  # the last is for -1: no channel
        gone[surgeon.present[~keep]] = True
        for name, mean in means.items():
            removed = gone[surgeon.owner(f"{name}.weight", 1)]
            if bool(removed.any()):
                for layer in _copies(surgeon, name):
                    _move_bias(layer, removed.to(mean.device), mean)


def _readers(surgeon: Surgeon) -> dict[str, nn.Module]:
    """Layers of the model that read channels of a group along dimension 1 of their weight, and have a bias to move."""
    slices = [s for group in surgeon.grouping for s in group.slices if s.role == "in" and s.dim == 1]
    layers = {s.layer: surgeon.model.get_submodule(s.layer) for s in slices if s.tensor == f"{s.layer}.weight"}
    return {name: layer for name, layer in layers.items() if _can_be_mended(layer)}


def _can_be_mended(layer: nn.Module) -> bool:
    plain = isinstance(layer, nn.Linear) or (isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and layer.groups == 1)
    return plain and layer.bias is not None


def _mean_inputs(target: Target, model: nn.Module, layers: dict[str, nn.Module], batch: Any) -> dict[str, Tensor]:
    """Mean of each input channel over all calls of a layer that one batch takes, by the layer's name, [n]."""
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def watch(name: str, layer: nn.Module) -> Any:
        weight = layer.get_parameter("weight")
        channels = -1 if weight.dim() == 2 else 1 - weight.dim()  # counted from the end: there may be no batch

        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            rows = inputs[0].float().movedim(channels, -1).flatten(0, -2)
            sums[name] = sums.get(name, 0) + rows.sum(0)
            counts[name] = counts.get(name, 0) + len(rows)

        return layer.register_forward_pre_hook(hook)

    handles = [watch(name, layer) for name, layer in layers.items()]
    try:
        with torch.no_grad():
            target.loss(model.train(), batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: total / counts[name] for name, total in sums.items()}


def _copies(surgeon: Surgeon, name: str) -> Iterator[nn.Module]:
    """The layer of that name in the model, and in every twin that has it."""
    yield surgeon.model.get_submodule(name)
    for prefix, twin in surgeon.target_networks:
        inside = name if not prefix else name.removeprefix(f"{prefix}.")
        if not prefix or inside != name:
            yield twin.get_submodule(inside)


def _move_bias(layer: nn.Module, removed: Tensor, mean: Tensor) -> None:
    with torch.no_grad():
        weight = layer.get_parameter("weight")[:, removed]
        weight = weight.flatten(2).sum(2) if weight.dim() > 2 else weight  # every position of a kernel sees the mean
        layer.get_parameter("bias").add_(weight @ mean[removed])


REPAIRS: dict[str, Repair] = {"batchnorm": RecalibrateBatchNorm(), "mean": CompensateMeans(), "none": Repair()}
