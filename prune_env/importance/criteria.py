"""Channel criteria: a number for each channel, which says what goes first within a group (the lowest).

Nothing is normalised: numbers of different groups compare as they are.
Letters: W present channels of all groups, flat in group order.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from prune_env.groups import Surgeon
from prune_env.importance.channels import ChannelSums, Power
from prune_env.importance.tracker import ImportanceTracker

Criterion = Callable[[Surgeon, ImportanceTracker, torch.Generator], Tensor]


def magnitude_l1(surgeon: Surgeon, tracker: ImportanceTracker, generator: torch.Generator) -> Tensor:
    """L1 norm, sum |w|, over the channel's weights in the root layer, [W]."""
    return _weights(surgeon, "absolute")


def magnitude_l2(surgeon: Surgeon, tracker: ImportanceTracker, generator: torch.Generator) -> Tensor:
    """L2 norm, sqrt(sum w^2), [W]."""
    return _weights(surgeon, "square").sqrt()


def gradient(surgeon: Surgeon, tracker: ImportanceTracker, generator: torch.Generator) -> Tensor:
    """Smoothed mean |g|, [W]."""
    return tracker.channel("gradient")


def fisher(surgeon: Surgeon, tracker: ImportanceTracker, generator: torch.Generator) -> Tensor:
    """Smoothed mean g^2, [W]."""
    return tracker.channel("fisher")


def fisher_weight(surgeon: Surgeon, tracker: ImportanceTracker, generator: torch.Generator) -> Tensor:
    """Smoothed sum g^2 w^2: the Fisher estimate of the loss when the channel's weights become zero, [W]."""
    return tracker.channel("fisher_weight")


def taylor(surgeon: Surgeon, tracker: ImportanceTracker, generator: torch.Generator) -> Tensor:
    """Smoothed |sum w g|, the first-order change of the loss (Molchanov et al. 2019, arXiv 1906.10771), [W]."""
    return tracker.channel("taylor")


def random(surgeon: Surgeon, tracker: ImportanceTracker, generator: torch.Generator) -> Tensor:
    """Uniform in [0, 1), [W]."""
    return torch.rand(len(surgeon.present), generator=generator)


CRITERIA: dict[str, Criterion] = {
    "l1": magnitude_l1,
    "l2": magnitude_l2,
    "gradient": gradient,
    "fisher": fisher,
    "fisher_weight": fisher_weight,
    "taylor": taylor,
    "random": random,
}


def _weights(surgeon: Surgeon, power: Power) -> Tensor:
    sums = ChannelSums(surgeon)
    return sums.sum(sums.parameters, power)
