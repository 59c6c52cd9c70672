"""A pool of autoencoders of which every one differs: widths, data, training, and a redundancy that widths do not show.

The ranges are those of a trial in which a constant profile of ratios falls far behind policies that read the network.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from prune_env.targets.base import PoolSplit
from prune_env.targets.data import load_digits


def draw_autoencoder(random: np.random.Generator, split: PoolSplit, hidden_layers: int) -> dict[str, Any]:
    """Options of one autoencoder of digits.

    Hidden widths are log-uniform from 10 to 96, latents even from 4 to 40 in training and odd when held out, so that no
    network is in both. Each of these holds for half of the networks: all classes are in the data, all units are
    distinct at the start, there is no weight decay.

    Args:
        random: Draws everything.
        split: "train" or "held_out".
        hidden_layers: Of the encoder, and of the decoder.
    """
    layers = 2 * hidden_layers
    hidden = np.exp(random.uniform(np.log(10), np.log(96), layers)).round().astype(int).tolist()
    latent = 2 * int(random.integers(2, 21)) + (split == "held_out")
    steps = 10 * int(random.integers(60, 201))
    some = sorted(random.choice(10, int(random.integers(4, 10)), replace=False).tolist())
    classes = some if random.uniform() < 0.5 else None
    available = min(len(load_digits().of_classes(classes or range(10)).train), 1000)
    distinct = random.choice([1.0, 0.5, 0.25, 0.125], layers).tolist()
    return {
        "latent_dim": latent,
        "hidden": hidden,
        "distinct": distinct if random.uniform() < 0.5 else None,
        "classes": classes,
        "images": int(random.integers(300, available + 1)),
        "dense_steps": steps,
        "weight_decay": float(10 ** random.uniform(-5, -3)) if random.uniform() < 0.5 else 0.0,
    }
