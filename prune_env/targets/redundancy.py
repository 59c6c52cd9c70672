"""Hidden redundancy: units that are copies of others at the start of training, which widths do not show.

A layer of 48 units of which 12 are distinct computes what a layer of 12 would. Copies have the same incoming weights
and share the outgoing ones, up to noise, so their gradients stay alike and training keeps much of the redundancy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

NOISE = 0.02
"""Relative standard deviation by which the weights of a copy differ from the original's."""


def hidden_layers(chain: nn.Sequential) -> Iterator[tuple[nn.Linear, nn.Linear]]:
    """Every hidden linear layer of a chain, with the linear layer that reads it."""
    yield from pairwise(layer for layer in chain if isinstance(layer, nn.Linear))


@torch.no_grad()
def duplicate_units(chain: nn.Sequential, distinct: Sequence[float], generator: torch.Generator) -> None:
    """Make hidden units of a freshly initialised chain copies of others.

    Args:
        chain: Linear layers with activations and normalisations between them.
        distinct: For each hidden layer, the share of its units that are distinct, in (0, 1]; 1 leaves it alone.
        generator: Draws the noise.

    Raises:
        ValueError: If there are not as many shares as hidden layers.
    """
    layers = list(hidden_layers(chain))
    if len(layers) != len(distinct):
        raise ValueError(f"distinct must have {len(layers)} shares, one for each hidden layer, got {len(distinct)}")
    for (layer, reader), share in zip(layers, distinct, strict=True):
        width = layer.out_features
        originals = max(1, round(share * width))
        if originals == width:
            continue
        source = torch.arange(width) % originals
        copies = torch.bincount(source)[source]
        layer.weight.copy_(_noisy(layer.weight[source], generator))
        layer.bias.copy_(layer.bias[source])
        reader.weight.copy_(_noisy(reader.weight[:, source] / copies, generator))


def _noisy(weight: Tensor, generator: torch.Generator) -> Tensor:
    return weight * (1 + NOISE * torch.randn(weight.shape, generator=generator))
