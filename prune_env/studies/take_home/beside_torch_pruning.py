"""Prune the same trained network here and by Torch-Pruning's high-level pruner: seconds, and the score that is left.

Both cut by the L2 norm, every group by the same ratio, to the sparsity that Torch-Pruning reaches, and fine-tune with
as many steps of the same optimizer on the same batches. Seconds are those of the processor, on one thread, so that
other work on the machine does not count.
"""

from __future__ import annotations

import copy
import time
from typing import Any

import torch
import torch_pruning
from torch import nn

import prune_env
from prune_env.isolation import isolated
from prune_env.studies.take_home.networks import Subject
from prune_env.targets.module import LEARNING_RATE

RATIO = 0.5
"""Share of every group's channels that Torch-Pruning removes."""


@isolated()
def beside_torch_pruning(subject: Subject, steps: int) -> dict[str, Any]:
    """One network: what both took, and what they left, as a row."""
    functions = subject.functions
    score, floor = functions["score"], functions["floor"]
    with torch.no_grad():
        dense = score(subject.model, "validation")
        before = sum(p.numel() for p in subject.model.parameters())

    begun = time.process_time()
    theirs = copy.deepcopy(subject.model)
    counterpart = dict(zip(subject.model.modules(), theirs.modules(), strict=True))
    torch_pruning.pruner.BasePruner(
        theirs,
        functions["example"],
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=RATIO,
        ignored_layers=[counterpart[m] for m in subject.outputs],
        num_heads={counterpart[m]: n for m, n in subject.heads.items()},
    ).step()
    cut = time.process_time() - begun
    _fine_tune(theirs, functions, steps)
    their_total = time.process_time() - begun
    with torch.no_grad():
        their_score = score(theirs.eval(), "validation")
    sparsity = 1 - sum(p.numel() for p in theirs.parameters()) / before

    begun = time.process_time()
    result = prune_env.prune(
        subject.model, **functions, budget=sparsity, policy="uniform", criterion="l2", steps=steps, progress=False
    )
    total = time.process_time() - begun
    ours, seconds = result.report.scores["validation"], result.report.seconds
    share = {part: seconds[part] / seconds["total"] for part in ("ours", "training")}
    return {
        "network": subject.name,
        "parameters": before,
        "sparsity": sparsity,
        "sparsity_ours": result.report.sparsity,
        "dense": dense,
        "R": ours.after,
        "R_torch_pruning": (their_score - floor) / (dense - floor),
        "seconds": total,
        "seconds_ours": total * share["ours"],
        "seconds_training": total * share["training"],
        "seconds_torch_pruning": their_total,
        "seconds_torch_pruning_pruner": cut,
    }


def _fine_tune(model: nn.Module, functions: dict[str, Any], steps: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    model.train()
    for step in range(steps):
        optimizer.zero_grad()
        functions["loss"](model, functions["batches"][step % len(functions["batches"])]).backward()
        optimizer.step()
