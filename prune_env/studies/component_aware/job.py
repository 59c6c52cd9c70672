"""Prune one network to several sparsities with one policy, and score it right after the cut and after fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prune_env.studies.core.harness import AFTER_CUT, AFTER_TUNING, subject
from prune_env.studies.core.study import Rows

STAGES = (AFTER_CUT, AFTER_TUNING)
PLAIN, REPAIRED = "plain cuts", "repaired cuts"
WAYS: dict[str, dict[str, Any]] = {PLAIN: {"criterion": "l2", "repair": "none"}, REPAIRED: {}}
"""The papers' way of cutting, and the environment's default."""


def sparsity_sweep(
    name: str, network: Mapping[str, Any], seed: int, way: str, policy: str, sparsities: Sequence[float], steps: int
) -> Rows:
    """Prune one network to each sparsity with one policy; every policy gets the same batches.

    Args:
        name: Name of the target in tables and figures.
        network: Target and options of the environment.
        seed: Seed of the network and, with the sparsity, of the batches.
        way: A key of `WAYS`.
        policy: Name of the policy.
        sparsities: Shares of parameters to remove.
        steps: Training steps after the cut, for the second stage.
    """
    network_subject = subject(network, seed)
    rows: Rows = []
    for sparsity in sparsities:
        draw = int(np.random.SeedSequence([seed, round(sparsity * 10_000)]).generate_state(1)[0])
        for stage, count in zip(STAGES, (0, steps), strict=True):
            left = network_subject.prune(policy, sparsity, draw, steps=count, **WAYS[way])
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
                    "dense_score": network_subject.dense,
                    "floor": network_subject.floor,
                    "sparsity_reached": left.sparsity,
                }
            )
    return rows
