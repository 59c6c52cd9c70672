"""The training loss with a gate on every channel, and its gradient with respect to the gates.

Letters: W present channels of all groups, flat in group order, n positions along a dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from prune_env.groups import Surgeon

Losses = Sequence[tuple[Tensor, Sequence[nn.Parameter]]]
"""Scalar losses, each with the parameters that it trains; as of `Target.losses`."""


def gated_loss(surgeon: Surgeon, losses: Callable[[nn.Module], Losses], gates: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the losses, a scalar, and its gradient [W], where what reads a channel reads gate times the channel.

    A reader multiplies its weight with what it reads, so gates are multiplied into the weights: the gradient is
    sum dL/dw * w over the weights that read the channel, each by the losses that train it, and a gate of 0 is the cut
    as far as readers are concerned. The model's parameters and their `grad` are left as they were.

    Args:
        surgeon: Holds the model and its groups.
        losses: Of the model.
        gates: [W].
    """
    model, width = surgeon.model, len(surgeon.present)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    keys = dict.fromkeys((s.tensor, s.dim) for g in surgeon.grouping for s in g.slices if s.role == "in")
    keys = {key: None for key in keys if key[0] in parameters}
    position = torch.full((int(surgeon.grouping.widths.sum()) + 1,), width)  # the last entry is of no channel
    position[surgeon.present] = torch.arange(width)
    reading = {name: parameters[name] for name, _ in keys}
    device = next(iter(parameters.values())).device
    open_beyond = torch.cat([gates.to(device), torch.ones(1, dtype=gates.dtype, device=device)])
    owners = {key: position[surgeon.owner(*key)].to(device) for key in keys}
    before = {name: parameter.detach().clone() for name, parameter in reading.items()}

    def factor(key: tuple[str, int]) -> Tensor:
        """The gates along a dimension of a tensor, in its shape."""
        name, dim = key
        shape = [1] * before[name].dim()
        shape[dim] = -1
        return open_beyond[owners[key]].to(before[name].dtype).view(shape)

    try:
        with torch.no_grad():
            for key in keys:
                reading[key[0]].mul_(factor(key))
        with torch.enable_grad():
            found = losses(model)
            slopes = _slopes(found, reading)
    finally:
        with torch.no_grad():
            for name, parameter in reading.items():
                parameter.copy_(before[name])
    gradient = torch.zeros(width + 1, dtype=gates.dtype, device=device)
    for key in keys:
        name, dim = key
        if name not in slopes:
            continue
        product = slopes[name] * before[name]
        for other in keys:
            if other[0] == name and other != key:
                product = product * factor(other)
        sums = product.movedim(dim, 0).flatten(1).sum(1) if product.dim() > 1 else product
        gradient.index_add_(0, owners[key], sums.to(gradient.dtype))
    return torch.stack([value.detach() for value, _ in found]).sum(), gradient[:width]


def _slopes(losses: Losses, reading: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Gradient of each parameter by name, summed over the losses that train it."""
    slopes: dict[str, Tensor] = {}
    for value, trained in losses:
        members = {id(parameter) for parameter in trained}
        mine = {name: parameter for name, parameter in reading.items() if id(parameter) in members}
        if not mine:
            continue
        found = torch.autograd.grad(value, list(mine.values()), allow_unused=True, retain_graph=True)
        for name, slope in zip(mine, found, strict=True):
            if slope is not None:
                slopes[name] = slopes[name] + slope if name in slopes else slope
    return slopes
