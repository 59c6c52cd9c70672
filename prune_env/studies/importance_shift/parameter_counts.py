"""Parameter counts of the paper's networks at its sizes: of the whole network and of every group's root layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from prune_env.groups import discover
from prune_env.studies.core.study import Job, Row, Rows
from prune_env.targets import TDMPC, Autoencoder
from prune_env.targets.autoencoder import AutoencoderNet, layer_widths

LATENTS = (8, 64, 256, 512)
INPUTS = 784
PAPER_AUTOENCODER = "autoencoder, latent 256"
"""The network whose size the paper gives."""


def size_jobs() -> list[Job]:
    """The autoencoders and the controller."""
    return [Job(count_autoencoder, {"latent": latent}) for latent in LATENTS] + [Job(count_controller, {})]


def count_autoencoder(latent: int) -> Rows:
    """Parameters of the autoencoder on 28x28 images."""
    model = AutoencoderNet(layer_widths(INPUTS, latent))
    return _counts(f"autoencoder, latent {latent}", model, lambda m: m(torch.zeros(1, INPUTS)), Autoencoder.components)


def count_controller() -> Rows:
    """Parameters of TD-MPC, and whether the same convolutions fit on 28x28 images."""
    target = _controller()
    rows = _counts("TD-MPC", target.build(torch.Generator().manual_seed(0)), target.trace, target.components)
    try:
        _controller(image=28).build(torch.Generator().manual_seed(0))
        fits = 1
    except ValueError:
        fits = 0
    return [*rows, {"kind": "fits", "network": "TD-MPC", "name": "images of 28x28", "parameters": fits}]


def _controller(**options: Any) -> TDMPC:
    """TD-MPC as the paper's numbers imply: 84x84 pixels, three frames of three colours."""
    return TDMPC(obs="pixels", sizes="paper", **options)


def _counts(name: str, model: nn.Module, trace: Callable[[nn.Module], Any], components: tuple[str, ...]) -> Rows:
    grouping = discover(model, trace, components)
    sizes = {tensor: p.numel() for tensor, p in model.named_parameters()}
    rows: list[Row] = [
        {
            "kind": "group",
            "network": name,
            "name": group.name,
            "coupling": int(group.kind == "coupling"),
            "channels": group.channels,
            "members": len(group.members),
            "parameters": sum(sizes.get(s.tensor, 0) for s in group.root_slices),
        }
        for group in grouping.groups
    ]
    return [*rows, {"kind": "total", "network": name, "name": "whole network", "parameters": sum(sizes.values())}]
