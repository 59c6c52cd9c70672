"""What layers get to see: statistics of their inputs, position by position, in one pass over calibration batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prune_env.groups import Surgeon

Statistic = Callable[[Tensor], Tensor]
"""Turns values [N, n] into [N, n], whose mean over N is the statistic."""


def readers(surgeon: Surgeon) -> dict[str, nn.Module]:
    """Linear and ungrouped convolution layers of the model that read channels of a group, by name.

    They read along dimension 1 of their weight.
    """
    slices = [s for group in surgeon.grouping for s in group.slices if s.role == "in" and s.dim == 1]
    layers = {s.layer: surgeon.model.get_submodule(s.layer) for s in slices if s.tensor == f"{s.layer}.weight"}
    return {name: layer for name, layer in layers.items() if _is_plain(layer)}


def _is_plain(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and layer.groups == 1)


def input_statistics(
    layers: Mapping[str, nn.Module], passes: Iterable[Callable[[], Any]], statistics: Mapping[str, Statistic]
) -> dict[str, dict[str, Tensor]]:
    """Means over everything that the layers read: statistic -> layer -> float [n], n input channels.

    Args:
        layers: Linear and convolution layers by name.
        passes: Each runs the model on a batch.
        statistics: What is averaged, by name.
    """
    sums: dict[str, dict[str, Tensor]] = {name: {} for name in statistics}
    counts: dict[str, int] = {}

    def watch(name: str, layer: nn.Module) -> Any:
        weight = layer.get_parameter("weight")
        channels = -1 if weight.dim() == 2 else 1 - weight.dim()  # counted from the end: there may be no batch

        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            rows = inputs[0].float().movedim(channels, -1).flatten(0, -2)
            for statistic, compute in statistics.items():
                sums[statistic][name] = sums[statistic].get(name, 0) + compute(rows).sum(0)
            counts[name] = counts.get(name, 0) + len(rows)

        return layer.register_forward_pre_hook(hook)

    handles = [watch(name, layer) for name, layer in layers.items()]
    try:
        with torch.no_grad():
            for run in passes:
                run()
    finally:
        for handle in handles:
            handle.remove()
    return {
        statistic: {name: total / counts[name] for name, total in totals.items()} for statistic, totals in sums.items()
    }


ACTIVATION_STATISTICS: dict[str, Statistic] = {"mean_abs": torch.abs}
"""What is known of activations; all are computed in one pass."""


def channel_activations(surgeon: Surgeon, passes: Iterable[Callable[[], Any]]) -> dict[str, Tensor]:
    """`ACTIVATION_STATISTICS` of every present channel, each float [W] on the model's device; one pass serves all.

    A channel has the mean over the positions at which the layers that read it find it (several, where a layer reads a
    flattened picture); a channel that no linear or convolution layer reads has 0.

    Args:
        surgeon: Holds the model and its groups.
        passes: Each runs the model on a batch.
    """
    found = input_statistics(readers(surgeon), passes, ACTIVATION_STATISTICS)
    place = torch.full((int(surgeon.grouping.widths.sum()) + 1,), len(surgeon.present))  # of no channel: a spare place
    place[surgeon.present] = torch.arange(len(surgeon.present))
    result = {}
    for statistic, layers in found.items():
        device = next(surgeon.model.parameters()).device
        sums, counts = torch.zeros(2, len(surgeon.present) + 1, device=device)
        for name, values in layers.items():
            index = place[surgeon.owner(f"{name}.weight", 1)].to(device)
            sums.index_add_(0, index, values)
            counts.index_add_(0, index, torch.ones_like(values))
        result[statistic] = (sums / counts.clamp(min=1))[:-1]
    return result
