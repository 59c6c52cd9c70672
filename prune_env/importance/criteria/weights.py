"""Criteria that read the weights alone: norms, scales of normalisation layers, distances between channels.

Letters: W present channels of all groups, C present channels of one group, D entries of one channel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prune_env.groups import Surgeon
from prune_env.importance.channels import ChannelSums, Power
from prune_env.importance.criteria.base import Criterion, CriterionContext


class Norm(Criterion):
    """Norm of the channel's weights and bias in the root layer: L1, sum |w|, or L2, sqrt(sum w^2)."""

    def __init__(self, order: int):
        self._order = order

    def values(self, context: CriterionContext) -> Tensor:
        """The norms, [W]."""
        sums = ChannelSums(context.surgeon)
        power: Power = "absolute" if self._order == 1 else "square"
        totals = sums.sum(sums.parameters, power)
        return totals if self._order == 1 else totals.sqrt()


class BatchNormScale(Criterion):
    """|gamma| of the normalisation layers behind a channel (network slimming: Liu et al. 2017, arXiv 1708.06519, §3).

    The mean over the layers, where several follow. `l1_scales` of the environment adds the paper's L1 term to the
    training loss. A group without normalisation layer is ranked by the L2 norm of its root layer.
    """

    def values(self, context: CriterionContext) -> Tensor:
        """The scales, [W]."""
        surgeon = context.surgeon
        place = torch.full((int(surgeon.grouping.widths.sum()) + 1,), len(surgeon.present))
        place[surgeon.present] = torch.arange(len(surgeon.present))
        norms = Norm(2).values(context)
        sums, counts = (norms.new_zeros(len(surgeon.present) + 1) for _ in range(2))
        for tensor in scales_of(surgeon):
            values = surgeon.model.get_parameter(tensor).detach().abs()
            index = place[surgeon.owner(tensor, 0)].to(values.device)
            sums.index_add_(0, index, values.to(sums.dtype))
            counts.index_add_(0, index, torch.ones_like(values, dtype=counts.dtype))
        return torch.where(counts[:-1] > 0, sums[:-1] / counts[:-1].clamp(min=1), norms)


def scales_of(surgeon: Surgeon) -> list[str]:
    """Names of the scales of normalisation layers that groups reach: one-dimensional weights."""
    names = dict.fromkeys(s.tensor for g in surgeon.grouping for s in g.slices if s.tensor.endswith(".weight"))
    parameters = dict(surgeon.model.named_parameters(remove_duplicate=False))
    return [
        name
        for name in names
        if name in parameters and parameters[name].dim() == 1 and not _is_slope(surgeon.model, name)
    ]


def _is_slope(model: nn.Module, name: str) -> bool:
    return isinstance(model.get_submodule(name.rpartition(".")[0]), nn.PReLU)


class GeometricMedian(Criterion):
    """Sum of the distances to all other channels of the group (FPGM: He et al. 2019, arXiv 1811.00250, equation 5).

    A channel near the geometric median can be replaced by the others. Channels are vectors of the root layer's weights.
    """

    def values(self, context: CriterionContext) -> Tensor:
        """Sums of distances, [W]."""
        return torch.cat([torch.cdist(rows, rows, compute_mode=_EXACT).sum(1) for rows in root_rows(context.surgeon)])


_EXACT = "donot_use_mm_for_euclid_dist"


def root_rows(surgeon: Surgeon) -> list[Tensor]:
    """For each group the weights of its root layer by channel, [C, D]; its biases where it has nothing else."""
    parameters = dict(surgeon.model.named_parameters(remove_duplicate=False))
    starts = surgeon.grouping.widths.cumsum() - surgeon.grouping.widths
    result = []
    for group, start, width in zip(surgeon.grouping.groups, starts, surgeon.widths.tolist(), strict=True):
        slices = [s for s in group.root_slices if s.tensor in parameters]
        parts = [torch.zeros(width, 0, device=next(iter(parameters.values())).device)]
        for s in [s for s in slices if parameters[s.tensor].dim() > 1] or slices:
            owner = surgeon.owner(s.tensor, s.dim) - int(start)
            mine = ((owner >= 0) & (owner < group.channels)).nonzero()[:, 0]
            index = mine[owner[mine].argsort(stable=True)]  # channel after channel
            weight = parameters[s.tensor].detach()
            parts.append(weight.movedim(s.dim, 0)[index.to(weight.device)].reshape(width, -1))
        result.append(torch.cat(parts, dim=1))
    return result
