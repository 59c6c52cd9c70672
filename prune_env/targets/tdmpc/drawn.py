"""A pool of controllers of which every one differs: widths of every layer, training, and redundancy."""

from __future__ import annotations

from typing import Any

import numpy as np

from prune_env.targets.base import PoolSplit
from prune_env.targets.tdmpc.networks import HEADS


def draw_controller(random: np.random.Generator, split: PoolSplit) -> dict[str, Any]:
    """Options of one controller of the pendulum from its state.

    Hidden widths are log-uniform from 24 to 96, latents even from 12 to 40 in training and odd when held out, so that
    no network is in both. Half of the networks have distinct units only.

    Args:
        random: Draws everything.
        split: "train" or "held_out".
    """
    drawn = np.exp(random.uniform(np.log(24), np.log(96), 1 + 2 * len(HEADS))).round().astype(int).tolist()
    latent = 2 * int(random.integers(6, 21)) + (split == "held_out")
    steps = 200 * int(random.integers(8, 15))
    shares = random.choice([1.0, 0.5, 0.25], 1 + 2 * len(HEADS)).tolist()
    redundant = random.uniform() < 0.5
    return {
        "latent_dim": latent,
        "encoder_width": drawn[0],
        "widths": _by_component(drawn[1:]),
        "distinct": {"encoder": shares[:1], **_by_component(shares[1:])} if redundant else {},
        "dense_steps": steps,
    }


def _by_component(numbers: list[Any]) -> dict[str, list[Any]]:
    return {name: numbers[2 * i : 2 * i + 2] for i, name in enumerate(HEADS)}
