"""Train -> Prune and Train -> Prune -> Continue (arXiv 2601.19794): one network, pruned in one workflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prune_env.dense import CheckpointSpec
from prune_env.studies.core.harness import dense_networks, subject
from prune_env.studies.core.study import Rows

ONE_SHOT, GRADUAL, LATE = "one-shot at convergence", "gradual during training", "gradual after convergence"


@dataclass(frozen=True)
class Arm:
    """One workflow, out of several with the same number of training steps.

    Attributes:
        dense_steps: Training steps before the first cut.
        rounds: Number of cuts, each followed by equally long training.
        steps: Training steps after each cut.
    """

    dense_steps: int
    rounds: int
    steps: int

    @property
    def total(self) -> int:
        """All training steps."""
        return self.dense_steps + self.rounds * self.steps


def arms(dense_steps: int, tuning_steps: int, rounds: int) -> dict[str, Arm]:
    """The workflows, all of `dense_steps + tuning_steps` training steps.

    Args:
        dense_steps: Training steps until the network counts as converged.
        tuning_steps: Training steps after that.
        rounds: Cuts of the gradual workflows; the one during training starts halfway to convergence.

    Raises:
        ValueError: If the steps are not divisible by the rounds.
    """
    half = dense_steps // 2
    for steps in (tuning_steps, dense_steps - half + tuning_steps):
        if steps % rounds:
            raise ValueError(f"{steps} training steps are not divisible by {rounds} rounds; choose another number")
    return {
        ONE_SHOT: Arm(dense_steps, 1, tuning_steps),
        GRADUAL: Arm(half, rounds, (dense_steps - half + tuning_steps) // rounds),
        LATE: Arm(dense_steps, rounds, tuning_steps // rounds),
    }


def subject_networks(
    network: Mapping[str, Any], seed: int, arm: str, plan: Mapping[str, int]
) -> tuple[CheckpointSpec, ...]:
    """The dense networks that a workflow loads; arguments are its own."""
    chosen = arms(**plan)[arm]
    return tuple(
        spec
        for steps in sorted({chosen.dense_steps, chosen.total})
        for spec in dense_networks({**network, "dense_steps": steps}, seed)
    )


def workflow(
    name: str, network: Mapping[str, Any], seed: int, arm: str, plan: Mapping[str, int], sparsities: Sequence[float],
    policies: Sequence[str],
) -> Rows:  # fmt: skip
    """Prune one network to each sparsity in one workflow.

    All retained scores are relative to a dense network with as many training steps as the pruned ones.

    Args:
        name: Name of the target in tables and figures.
        network: Target and options of the environment.
        seed: Seed of the network and, with the sparsity, of the batches.
        arm: Name of the workflow.
        plan: Arguments of `arms`.
        sparsities: Shares of parameters to remove.
        policies: Names of policies.
    """
    chosen = arms(**plan)[arm]
    dense = subject({**network, "dense_steps": chosen.total}, seed)
    network_subject = subject({**network, "dense_steps": chosen.dense_steps}, seed)
    rows: Rows = []
    for policy in policies:
        for sparsity in sparsities:
            draw = int(np.random.SeedSequence([seed, round(sparsity * 10_000)]).generate_state(1)[0])
            left = network_subject.prune(policy, sparsity, draw, rounds=chosen.rounds, steps=chosen.steps)
            rows.append(
                {
                    "target": name,
                    "seed": seed,
                    "arm": arm,
                    "policy": policy,
                    "sparsity": sparsity,
                    "retained": (left.score - dense.floor) / (dense.dense - dense.floor),
                    "score": left.score,
                    "dense_score": dense.dense,
                    "floor": dense.floor,
                    "sparsity_reached": left.sparsity,
                    "dense_steps": chosen.dense_steps,
                    "rounds": chosen.rounds,
                    "steps_per_round": chosen.steps,
                    "training_steps": chosen.total,
                }
            )
    return rows
