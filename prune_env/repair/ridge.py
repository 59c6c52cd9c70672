"""Repair of the readers' weights: least squares on what they read before the cut.

Letters: N rows, n positions that a weight reads, k entries of a kernel, O outputs, R positions that go, S that stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from prune_env.groups import Surgeon
from prune_env.importance.reads import Read, assign_matrix, matrix_of, patches_of, reads_of, watch
from prune_env.repair.base import Repair
from prune_env.repair.batchnorm import RecalibrateBatchNorm
from prune_env.repair.copies import copies_of
from prune_env.targets import Target
from prune_env.validation import Range, check_fields

_ROWS = 16_384  # rows of one call of a layer that are read, evenly spread
_BIAS = {"weight": "bias", "weight_ih": "bias_ih", "weight_hh": "bias_hh"}


@dataclass(frozen=True)
class Ridge(Repair):
    """Let what stays stand for what goes: every reader's weights become those of least squares over calibration data.

    For a reader y = W x + b of which the inputs R go, the weights W' and bias b' for the inputs S that stay minimise

        E |W x + b - W' x_S - b'|^2 + strength * mean variance of x_S * |W' - W_S|^2

    so W' = W_S + W_R A with A = C_RS (C_SS + lambda)^-1 and C the covariance of x; the bias takes up the means. This is
    the reconstruction of He et al. 2017 (arXiv 1707.06168, equation 3) with the inputs as they were before the cut, and
    the update of layer-wise OBS (Dong et al. 2017, arXiv 1705.07565) with ridge. Linear layers, convolutions (with all
    entries of their kernels) and recurrent layers are fitted; transposed convolutions entry by entry, without bias.
    Target networks are corrected with the same A and their own weights. Running statistics of BatchNorm are
    recalibrated after the cut.

    Attributes:
        strength: Of the ridge, relative to the mean variance of the inputs that stay.
        batches: Calibration batches, at least 1.

    Raises:
        ValueError: If a value is out of range.
    """

    strength: float = 1e-3
    batches: int = 8

    def __post_init__(self) -> None:
        check_fields(self, {"strength": Range(0), "batches": Range(1)})

    def before_cut(self, target: Target, surgeon: Surgeon, keep: Tensor, batches: Iterator[Any]) -> None:
        """Measure the inputs of all readers, and write the new weights and biases."""
        moments = _moments(target, surgeon, batches, self.batches)
        gone = torch.zeros(int(surgeon.grouping.widths.sum()) + 1, dtype=torch.bool)  # the last entry: no channel
        gone[surgeon.present[~keep]] = True
        for read, seen in moments.items():
            positions = gone[surgeon.owner(read.tensor, read.dim)]
            if seen.count and bool(positions.any()):
                self._fit(surgeon, read, seen, positions)

    def after_cut(self, target: Target, model: nn.Module, batches: Iterator[Any]) -> None:
        """Recalibrate running statistics, if there are any."""
        RecalibrateBatchNorm().after_cut(target, model, batches)

    def _fit(self, surgeon: Surgeon, read: Read, seen: Moments, positions: Tensor) -> None:
        """Write the weights of one reader, and of its copies in target networks.

        Args:
            surgeon: Holds them.
            read: The weight.
            seen: Moments of what it read.
            positions: Which of its positions go, bool [n].
        """
        entries = len(seen.sum) // len(positions)
        removed, stays = (mask.repeat_interleave(entries).nonzero()[:, 0] for mask in (positions, ~positions))
        removed, stays = removed.to(seen.sum.device), stays.to(seen.sum.device)
        bias = _bias_of(surgeon.model.get_submodule(read.layer), read.key)
        mean = seen.sum / seen.count if bias else torch.zeros_like(seen.sum)
        covariance = seen.products / seen.count - torch.outer(mean, mean)
        inner = covariance[stays][:, stays]
        ridge = self.strength * inner.diagonal().mean() + _LEAST if len(stays) else inner.sum()
        inner.diagonal().add_(ridge)
        mix = torch.linalg.solve(inner, covariance[stays][:, removed]).T  # A, [R, S]
        shift = mean[removed] - mix @ mean[stays]
        for layer in copies_of(surgeon, read.layer):
            matrix = matrix_of(layer, read.key).detach().clone()
            lost = matrix[:, removed].to(mix.dtype)
            matrix[:, stays] += (lost @ mix).to(matrix.dtype)
            assign_matrix(layer, read.key, matrix)
            if bias:
                with torch.no_grad():
                    layer.get_parameter(bias).add_((lost @ shift).to(matrix.dtype))


_LEAST = 1e-20  # keeps inputs that are constant solvable


@dataclass
class Moments:
    """Sums over all rows that a weight has read, in double precision.

    Attributes:
        count: Rows.
        sum: Of x, [n k].
        products: Of x x^T, [n k, n k].
    """

    count: int = 0
    sum: Tensor = field(default_factory=lambda: torch.zeros(0))
    products: Tensor = field(default_factory=lambda: torch.zeros(0))

    def add(self, rows: Tensor) -> None:
        """Take in rows [N, n k]."""
        rows = rows.double()
        if not self.count:
            self.sum, self.products = torch.zeros_like(rows[0]), rows.new_zeros(rows.shape[1], rows.shape[1])
        self.count += len(rows)
        self.sum += rows.sum(0)
        self.products.addmm_(rows.t(), rows)


def _moments(target: Target, surgeon: Surgeon, batches: Iterator[Any], count: int) -> dict[Read, Moments]:
    """Moments of what every weight reads, with the model in evaluation mode."""
    model, reads = surgeon.model, reads_of(surgeon)
    found = {read: Moments() for listed in reads.values() for read in listed}

    def visit(name: str, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        patches = patches_of(layer, inputs, _ROWS)
        for read in reads[name]:
            if read.key in patches and len(patches[read.key]):
                found[read].add(patches[read.key])

    def passes() -> Iterator[Callable[[], Any]]:
        for _ in range(count):
            batch = next(batches)
            target.collect(model, batch)
            yield partial(target.loss, model, batch)

    model.eval()  # as it is deployed; whoever trains it next sets its mode
    watch({name: model.get_submodule(name) for name in reads}, passes(), visit)
    return found


def _bias_of(layer: nn.Module, key: str) -> str | None:
    """Name of the bias that is added to a weight's product, where the layer has one and all outputs share it."""
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):
        return None
    name = next((key.replace(weight, bias, 1) for weight, bias in _BIAS.items() if key.startswith(f"{weight}_l")), None)
    name = name or _BIAS.get(key)
    return name if name is not None and getattr(layer, name, None) is not None else None
