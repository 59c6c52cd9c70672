"""One network cut to several sparsities by one policy, scored right after the cut and after fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prune_env.studies.core.harness import AFTER_CUT, AFTER_TUNING, subject
from prune_env.studies.core.study import Rows

STAGES = (AFTER_CUT, AFTER_TUNING)
PLAIN, REPAIRED = "plain cuts", "repaired cuts"
WAYS: dict[str, dict[str, Any]] = {PLAIN: {"criterion": "l2", "repair": "none"}, REPAIRED: {}}
"""As the papers cut, and as the environment does by default."""


def sparsity_sweep(
    name: str, network: Mapping[str, Any], seed: int, way: str, policy: str, sparsities: Sequence[float], steps: int
) -> Rows:
    """Let one policy cut one network to each sparsity; every policy meets the same batches.

    Args:
        name: What the target is called.
        network: Target and options of the environment.
        seed: Of the network and, with the sparsity, of the batches.
        way: Of `WAYS`.
        policy: By name.
        sparsities: Shares of parameters to remove.
        steps: Training steps after the cut, for the second stage.
    """
    subject_network = subject(network, seed)
    rows: Rows = []
    for sparsity in sparsities:
        draw = int(np.random.SeedSequence([seed, round(sparsity * 10_000)]).generate_state(1)[0])
        for stage, count in zip(STAGES, (0, steps), strict=True):
            left = subject_network.prune(policy, sparsity, draw, steps=count, **WAYS[way])
            rows.append(
                {
                    "target": name,
                    "seed": seed,
                    "way": way,
                    "policy": policy,
                    "sparsity": sparsity,
                    "stage": stage,
                    "retained": left.retained,
                    "score": left.score,
                    "dense_score": subject_network.dense,
                    "floor": subject_network.floor,
                    "sparsity_reached": left.sparsity,
                }
            )
    return rows
