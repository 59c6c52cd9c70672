"""Statistics of what layers read, position by position and channel by channel, in one pass over calibration batches.

Letters: N rows, n positions (input channels of a layer), k entries of a kernel, S samples, W present channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from prune_env.groups import Surgeon
from prune_env.importance.reads import Read, given_to, patches_of, reads_of, watch

Statistic = Callable[[Tensor], Tensor]
"""Turns values [N, n] into [N, n], whose mean over N is the statistic."""
Pass = tuple[Tensor | None, Callable[[], Any]]
ACTIVATION_STATISTICS: dict[str, Statistic] = {
    "mean": lambda x: x,
    "mean_abs": torch.abs,
    "mean_square": torch.square,
    "positive": lambda x: (x > 0).float(),
}
"""What is known of activations; all are computed in one pass."""
ROWS = 1024
"""Rows that are kept of each weight for least squares, evenly spread over positions and batches."""


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

    def visit(name: str, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        (rows,) = given_to(layer, inputs).values()
        for statistic, compute in statistics.items():
            sums[statistic][name] = sums[statistic].get(name, 0) + compute(rows.float()).sum(0)
        counts[name] = counts.get(name, 0) + len(rows)

    watch(layers, passes, visit)
    return {
        statistic: {name: total / counts[name] for name, total in totals.items()} for statistic, totals in sums.items()
    }


@dataclass
class Seen:
    """What one weight has read.

    Attributes:
        read: The weight.
        count: Rows so far.
        sums: Sum over rows of each of `ACTIVATION_STATISTICS`, [n].
        rows: Rows with all entries of a kernel, [N, n k] each; only where they are kept.
        samples: Mean over the positions of each sample, [S, n] each; only where samples have labels.
        labels: Class of each of these samples, int64 [S] each.
    """

    read: Read
    count: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    rows: list[Tensor] = field(default_factory=list)
    samples: list[Tensor] = field(default_factory=list)
    labels: list[Tensor] = field(default_factory=list)

    def add(self, rows: Tensor, labels: Tensor | None) -> None:
        """Take in what the weight reads in one call, [N, n], and the classes of the samples that the rows belong to."""
        rows = rows.float()
        for name, compute in ACTIVATION_STATISTICS.items():
            self.sums[name] = self.sums.get(name, 0) + compute(rows).sum(0)
        self.count += len(rows)
        if labels is not None:
            self.samples.append(rows.view(len(labels), -1, rows.shape[1]).mean(1))
            self.labels.append(labels)

    def kept_rows(self) -> Tensor:
        """All rows that were kept, at most `ROWS`, [N, n k]."""
        rows = torch.cat(self.rows)
        return rows[:: max(1, -(-len(rows) // ROWS))]


def _by_sample(layer: nn.Module, x: Tensor, labels: Tensor | None) -> bool:
    """Whether the first dimension of a layer's input counts the samples that have these labels."""
    return labels is not None and len(x) == len(labels) and not isinstance(layer, nn.RNNBase)


class Activations:
    """What all weights that read a group's channels have read, from one pass.

    Args:
        surgeon: Holds the model and its groups.
        passes: Each is the classes of a batch's samples, or None, and what runs the model on the batch.
        rows: Whether rows are kept, for least squares.
    """

    def __init__(self, surgeon: Surgeon, passes: Iterable[Pass], rows: bool = False):
        self.surgeon = surgeon
        self.has_rows = rows
        reads = reads_of(surgeon)
        self.seen = {read.tensor: Seen(read) for listed in reads.values() for read in listed}
        current: list[Tensor | None] = [None]

        def visit(name: str, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
            given = given_to(layer, inputs)
            patches = patches_of(layer, inputs, ROWS) if rows else {}
            labels = current[0] if _by_sample(layer, inputs[0], current[0]) else None
            for read in reads[name]:
                if read.key in given:
                    self.seen[read.tensor].add(given[read.key], labels)
                    if rows:
                        self.seen[read.tensor].rows.append(patches[read.key].float())

        def runs() -> Iterator[Callable[[], Any]]:
            for labels, run in passes:
                current[0] = labels
                yield run

        watch({name: surgeon.model.get_submodule(name) for name in reads}, runs(), visit)
        self.seen = {tensor: seen for tensor, seen in self.seen.items() if seen.count}

    def channel(self, statistic: str) -> Tensor:
        """A statistic of every present channel, float [W] on the model's device.

        A channel has the mean over the positions at which the weights that read it find it (several, where a layer
        reads a flattened picture, or several layers read it); one that none of these weights reads has 0.

        Args:
            statistic: Name in `ACTIVATION_STATISTICS`.
        """
        values = {tensor: seen.sums[statistic] / seen.count for tensor, seen in self.seen.items()}
        sums, counts = (
            self.sum({tensor: f(v) for tensor, v in values.items()}) for f in (torch.clone, torch.ones_like)
        )
        return sums / counts.clamp(min=1)

    def __getitem__(self, statistic: str) -> Tensor:
        """The same as `channel`."""
        return self.channel(statistic)

    def sum(self, values: Mapping[str, Tensor]) -> Tensor:
        """Sum over all positions of a channel, [W], of numbers [n] for each weight by its name."""
        surgeon = self.surgeon
        place = torch.full((int(surgeon.grouping.widths.sum()) + 1,), len(surgeon.present))  # of no channel: spare
        place[surgeon.present] = torch.arange(len(surgeon.present))
        device = next(surgeon.model.parameters()).device
        sums = torch.zeros(len(surgeon.present) + 1, device=device)
        for tensor, numbers in values.items():
            index = place[surgeon.owner(tensor, self.seen[tensor].read.dim)].to(device)
            sums.index_add_(0, index, numbers.to(sums.dtype))
        return sums[:-1]
