"""One network trained from scratch with cosine-L1, and the importance of its groups at the end of every epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from prune_env.dense import DenseTrainingError
from prune_env.groups import Surgeon, discover
from prune_env.groups.types import Group
from prune_env.importance import MEASURES, PAPER_MEASURES, CosineL1, ImportanceTracker
from prune_env.studies.core.study import Job, Row, Rows
from prune_env.targets import make_target
from prune_env.training import Observer, train

COLUMNS = (*PAPER_MEASURES, "bayes_corrected")
"""The smoothed measures of a row; "bayes" is the paper's literal formula."""

BAYES = COLUMNS[2:]
BAYES_SAYS = "(§3.1.3) Bayes assigns higher ranks to groups that are both sensitive now and active before"
LABELS = {name: MEASURES[name].label for name in COLUMNS}


def trajectory_job(target: str, setting: str, options: Mapping[str, Any], seed: int, epochs: int) -> Job:
    """The job whose rows are one trajectory."""
    arguments = {"target": target, "setting": setting, "options": dict(options), "seed": seed, "epochs": epochs}
    return Job(trajectory, arguments, depends=make_target(target, **options).settings())


def trajectory(target: str, setting: str, options: Mapping[str, Any], seed: int, epochs: int) -> Rows:
    """Train one network at a constant learning rate, and record the importance of its groups.

    Rows of kind "group" describe the groups, rows of kind "importance" hold `COLUMNS` at the end of every epoch, and
    rows of kind "score" the test metrics of the trained network.

    Args:
        target: Name of a registered target.
        setting: Name of the network in tables and figures.
        options: Options of the target.
        seed: Seed of initialisation and batches.
        epochs: Training length [epochs of the target].
    """
    made = make_target(target, **options)
    generator = torch.Generator().manual_seed(seed)
    model = made.build(generator)
    grouping = discover(model, made.trace, made.components)
    surgeon = Surgeon(model, grouping)
    tracker = ImportanceTracker(surgeon, measures=COLUMNS)
    # The regularisation comes first: importance is measured on the gradient of the total loss.
    observers: list[Observer] = [CosineL1(surgeon, made.dense_training.steps_per_epoch), tracker]
    optimizers, batches = made.optimizers(model), made.batches(generator)
    network: Row = {"target": target, "setting": setting, "seed": seed}
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    rows: Rows = [
        {
            "kind": "group",
            **network,
            "group": group.name,
            "position": position(model, made.components, group),
            "coupling": int(group.kind == "coupling"),
            "channels": group.channels,
            "parameters": sum(sizes.get(s.tensor, 0) for s in group.root_slices),
        }
        for group in grouping.groups
    ]
    for epoch in range(1, epochs + 1):
        loss = train(made, model, optimizers, batches, made.dense_training.steps_per_epoch, observers)
        if not math.isfinite(loss):
            raise DenseTrainingError(f"{target}, {setting}, seed {seed} diverged in epoch {epoch}")
        values = tracker.groups(COLUMNS).T.tolist()
        rows += [
            {"kind": "importance", **network, "group": name, "epoch": epoch, **dict(zip(COLUMNS, value, strict=True))}
            for name, value in zip(grouping.names, values, strict=True)
        ]
    metrics = made.metrics(model, "test")
    rows += [
        {"kind": "score", **network, "epoch": epochs, "metric": name, "value": value} for name, value in metrics.items()
    ]
    return rows


def position(model: nn.Module, components: tuple[str, ...], group: Group) -> int:
    """Number of layers with weights from the input to the group's root layer, which is included.

    Components other than the first read the output of the first, as in both of the papers' networks.
    """

    def weighted(component: str) -> list[str]:
        parts = model.get_submodule(component).named_modules(prefix=component)
        return [name for name, layer in parts if isinstance(layer, (nn.Linear, nn.Conv2d))]

    owner = group.root.partition(".")[0]
    before = 0 if owner == components[0] else len(weighted(components[0]))
    return before + weighted(owner).index(group.root) + 1
