"""The page of this study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prune_env.markup import markdown_table

Rows = Sequence[Mapping[str, Any]]


def page(known: Mapping[str, Any], steps: int, seeds: int) -> str:
    """Markdown of all parts that are there."""
    speed = [row for name, rows in known.items() if name.startswith("speed") for row in rows]
    sizes = [row for name in ("classifier", "controller") for row in known.get(name, ())]
    parts = ["# What pruning gives", _HEAD.format(**known.get("machine", {"processor": "?", "torch": "?"}))]
    if speed:
        parts += ["## Time of `prune`, beside Torch-Pruning", _SPEED.format(steps=steps), _speed(speed)]
    if sizes:
        parts += ["## At 30 % of the parameters", _SIZES.format(steps=steps, seeds=seeds), _sizes(sizes)]
    if widths := known.get("widths"):
        parts += ["## From which width on it is faster", _WIDTHS, _widths(widths)]
    return "\n\n".join(parts) + "\n"


_HEAD = (
    "`python -m prune_env.studies.take_home` measures this page: {processor}, torch {torch}, one thread. Networks that "
    "are compared take turns, call by call, in time of the processor, so that other work on the machine does not count."
)
_SPEED = (
    "The same trained networks, L2 norm, the same ratio for every group, {steps} steps of fine-tuning with Adam on the "
    "same batches; seconds of the processor. *Ours* is what `prune` takes beyond training and scoring: groups that are "
    "discovered and *proved* on copies, cuts, and measuring latency. *Pruner* is what Torch-Pruning's `BasePruner` "
    "takes to build its graph and cut, once, at a ratio that is known; it proves nothing, and has no budget in "
    "parameters."
)
_SIZES = (
    "Pruned to 30 % of the parameters in one round with {steps} steps of fine-tuning; R on test data, mean and range "
    "over {seeds} seeds of batches; median time of one call [us] with its 95 % interval, dense and pruned, "
    "for 1 and 16 samples. The controller acts by its policy, so its share is one of encoder and policy.\n\n"
    "Convolutions of odd widths can be slower in onnxruntime than dense ones. With `round_to=8` (and 10 steps), the "
    "network that `gradient` leaves takes 31 instead of 54 us for one sample, dense 47; and 296 instead of 632 us for "
    "sixteen, dense 559."
)
_WIDTHS = (
    "Three layers of equal width, and the same with 55 % of the channels, which is about 30 % of the parameters of the "
    "inner layer: how many times faster. A call of a narrow network costs what calling torch costs; pruning it saves "
    "memory, not time. A tenth is gained from about width 128 on for one sample, and from 64 to 128 on for sixteen."
)


def _speed(rows: Rows) -> str:
    header = (
        "network",
        "sparsity",
        "R",
        "R, Torch-Pruning",
        "prune [s]",
        "ours [s]",
        "Torch-Pruning [s]",
        "pruner [s]",
    )
    scores = ("sparsity_ours", "R", "R_torch_pruning")
    seconds = ("seconds", "seconds_ours", "seconds_torch_pruning", "seconds_torch_pruning_pruner")
    cells = [(row["network"], *(f"{row[k]:.3f}" for k in scores), *(f"{row[k]:.1f}" for k in seconds)) for row in rows]
    return markdown_table(header, cells)


def _sizes(rows: Rows) -> str:
    kinds = list(rows[0]["latency"])
    cells = []
    for row in rows:
        retained = f"{np.mean(row['R']):.3f} ({min(row['R']):.3f} to {max(row['R']):.3f})"
        size = " to ".join(f"{size / 1e3:.0f}" for size in row["bytes"])
        times = [" to ".join(_time(*timing) for timing in row["latency"][kind]) for kind in kinds]
        cells.append((row["network"], row["policy"], retained, size, *times))
    return markdown_table(("network", "policy", "R", "file [kB]", *kinds), cells)


def _time(median: float, low: float, high: float) -> str:
    return f"{median:.0f} [{low:.0f}, {high:.0f}]"


def _widths(rows: Rows) -> str:
    kinds = [kind for kind in rows[0] if kind != "width"]
    return markdown_table(("width", *kinds), [(r["width"], *(f"{r[kind]:.2f}" for kind in kinds)) for r in rows])
