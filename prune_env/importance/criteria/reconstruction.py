"""Criteria that ask how well a group's readers can do without a channel: ThiNet's greedy choice, and LASSO.

Letters: W present channels of all groups, C present channels of one group, N rows, n positions, k entries of a kernel,
O outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prune_env.groups import Surgeon
from prune_env.importance.activations import Activations
from prune_env.importance.criteria.base import Criterion, CriterionContext
from prune_env.importance.reads import matrix_of
from prune_env.validation import Range, check_fields


class Reconstruction(Criterion):
    """What readers lose without channels, in terms of the matrix M [C, C] of their contributions to the readers.

    With x_c the contribution of channel c to the outputs of all weights that read it, M_cd is the mean over rows of
    <x_c, x_d>: without the channels of a set T, the squared error of the outputs is the sum of M over T x T. A subclass
    turns M into values. A group that nothing reads has zeros.
    """

    costly: ClassVar[bool] = True

    def of_group(self, contributions: Tensor) -> Tensor:
        """Values [C] from M [C, C]."""
        raise NotImplementedError

    def values(self, context: CriterionContext) -> Tensor:
        """One value for each present channel, [W]."""
        matrices = contributions(context.surgeon, context.activations_with_rows)
        return torch.cat([self.of_group(matrix) for matrix in matrices])


class ThiNet(Reconstruction):
    """Greedy choice of the channels whose removal changes the readers' outputs least (Luo et al. 2017, 1707.06342).

    Algorithm 1: channels go one after another, each time the one with which the error of all that have gone is
    smallest. The value
    of a channel is the largest error by the time at which it goes.
    """

    def of_group(self, contributions: Tensor) -> Tensor:
        """Errors [C], ascending in the order of removal."""
        count = len(contributions)
        diagonal = contributions.diagonal()
        shared = torch.zeros_like(diagonal)  # sum of M_cd over all d that have gone
        gone = torch.zeros_like(diagonal)
        total, worst = diagonal.new_zeros(()), diagonal.new_zeros(())
        values = torch.zeros_like(diagonal)
        for number in range(count):  # one step depends on the other
            errors = torch.where(gone > 0, torch.inf, total + diagonal + 2 * shared)
            chosen = errors.argmin().unsqueeze(0)
            total = errors.gather(0, chosen)[0]
            worst = torch.maximum(worst, total)
            values = values.index_copy(0, chosen, (worst * (1 + _STEP * number))[None])
            gone = gone.index_fill(0, chosen, 1.0)
            shared = shared + contributions.index_select(0, chosen)[0]
        return values


_STEP = 1e-5  # keeps the order of removal among channels with the same largest error


@dataclass(frozen=True)
class Lasso(Reconstruction):
    """LASSO over channels: beta minimises |y - sum_c beta_c x_c|^2 / 2 + lambda |beta|_1 (He et al. 2017, 1707.06168,
    equation 2), with y the readers' outputs. The value of a channel is the largest lambda at which its beta is not 0.

    Lambda falls by equal factors from the value at which all are zero; the solution is that of proximal gradient
    descent with momentum (FISTA), warm-started. Equal values are told apart by the last beta.

    Attributes:
        path: Values of lambda.
        iterations: Steps for each.

    Raises:
        ValueError: If a number is below 2.
    """

    path: int = 40
    iterations: int = 60

    def __post_init__(self) -> None:
        check_fields(self, dict.fromkeys(("path", "iterations"), Range(2)))

    def of_group(self, contributions: Tensor) -> Tensor:
        """Largest lambdas [C]."""
        linear = contributions.sum(1)  # <x_c, y>, as y is the sum of all contributions
        top = linear.abs().max()
        step = 1.0 / torch.linalg.eigvalsh(contributions)[-1].clamp(min=1e-30)
        mapping = torch.eye(len(linear), dtype=step.dtype, device=step.device) - step * contributions
        beta, entered = torch.zeros_like(linear), torch.zeros_like(linear)
        for i in range(self.path):
            strength = top * 10.0 ** (-_DECADES * (i + 1) / self.path)
            beta = self._solve(mapping, step * linear, step * strength, beta)
            entered = torch.where((entered == 0) & (beta != 0), strength, entered)
        return entered * (1 + _STEP * beta.abs() / beta.abs().max().clamp(min=1e-30))

    def _solve(self, mapping: Tensor, offset: Tensor, shrink: Tensor, beta: Tensor) -> Tensor:
        """Proximal gradient steps from beta; without the shrinkage a step goes from b to mapping b + offset."""
        momentum, ahead = 1.0, beta
        for _ in range(self.iterations):
            moved = torch.addmv(offset, mapping, ahead)
            new = moved - moved.clamp(-shrink, shrink)
            following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = torch.lerp(beta, new, 1 + (momentum - 1) / following)
            beta, momentum = new, following
        return beta


_DECADES = 4.0


def contributions(surgeon: Surgeon, activations: Activations) -> list[Tensor]:
    """M of every group, [C, C] each; see `Reconstruction`."""
    device = next(surgeon.model.parameters()).device
    place = torch.full((int(surgeon.grouping.widths.sum()) + 1,), -1)  # the last one is no channel
    matrices = []
    for g, width in enumerate(surgeon.widths.tolist()):
        place.fill_(-1)
        place[surgeon.present[surgeon.group_of == g]] = torch.arange(width)
        matrix = torch.zeros(width, width, device=device)
        for tensor, seen in activations.seen.items():
            channel = place[surgeon.owner(tensor, seen.read.dim)]
            if bool((channel >= 0).any()):
                rows, weight = seen.kept_rows(), matrix_of(surgeon.model.get_submodule(seen.read.layer), seen.read.key)
                entries = rows.shape[1] // len(channel)
                matrix += _summed(rows, weight.detach(), channel.repeat_interleave(entries), width)
        matrices.append(matrix)
    return matrices


def _summed(rows: Tensor, weight: Tensor, channel: Tensor, count: int) -> Tensor:
    """Sum of (W^T W) * (X^T X) / N over the entries of each pair of channels, [C, C]."""
    mine = (channel >= 0).nonzero()[:, 0]
    channel, mine = channel[mine].to(rows.device), mine.to(rows.device)
    rows, weight = rows[:, mine], weight[:, mine].to(rows.dtype)
    products = (weight.t() @ weight) * (rows.t() @ rows) / len(rows)  # [n k, n k]
    sums = products.new_zeros(count, len(mine)).index_add_(0, channel, products)
    return products.new_zeros(count, count).index_add_(1, channel, sums)
