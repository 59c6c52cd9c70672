"""One row of the table: `python measuring.py LIBRARY:NAME` prints it as JSON; a process of its own for each model."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import zoo
from comparison_with_dense import Comparison
from torch import nn

from prune_env.groups import Grouping, Surgeon, discover

PATIENCE = 20
"""Seconds after which torch-pruning is stopped."""


def measure(key: str) -> dict[str, Any]:
    """Everything that the table says of a model, and why what is locked is locked."""
    model, trace = zoo.build(key)
    components = [name for name, _ in model.named_children()]
    total = sum(p.numel() for p in model.parameters())
    row: dict[str, Any] = {"model": key, "parameters": total, "bar": zoo.ENTRIES[key].least_share}
    begun = time.perf_counter()
    grouping = discover(model, trace, components)
    row["seconds"] = time.perf_counter() - begun
    row["groups"], row["locked"] = len(grouping), len(grouping.locked)
    row["share"] = shares(model, grouping.groups) / total
    row["reasons"] = reasons(model, grouping, total)
    row["left"] = half(model, trace, grouping) / total
    row["theirs"] = torch_pruning_half(key, grouping, total)
    comparison = compared(key, grouping)
    row["precision"] = "double" if comparison.rounding < 1e-6 else "single"
    verdicts = {group.name: comparison.verdict(group) for group in grouping.groups}
    row["verdicts"] = dict(Counter(v.partition(":")[0] for v in verdicts.values()))
    row["wrong"] = {name: v for name, v in verdicts.items() if v.startswith("wrong")}
    return row


def compared(key: str, grouping: Grouping) -> Comparison:
    """In double precision, or in single where the model itself asks for it."""
    try:
        model, trace = zoo.build(key)
        torch.set_default_dtype(torch.float64)  # for what the models make themselves
        return Comparison(model.double(), trace, grouping)
    except (RuntimeError, ValueError):
        torch.set_default_dtype(torch.float32)
        return Comparison(*zoo.build(key), grouping, precise=False)


def shares(model: nn.Module, groups: Any) -> int:
    """Parameters that lie in at least one slice of one of the groups; each is counted once, also if it is tied."""
    named = dict(model.named_parameters(remove_duplicate=False))
    marks = {id(p): torch.zeros(p.shape, dtype=torch.bool) for p in named.values()}
    for group in groups:
        for s in group.slices:
            if s.tensor in named:
                marks[id(named[s.tensor])].index_fill_(s.dim, torch.from_numpy(s.positions.ravel()), True)
    return sum(int(mark.sum()) for mark in marks.values())


def reasons(model: nn.Module, grouping: Grouping, total: int) -> list[tuple[float, str, list[str]]]:
    """Why groups are locked: share of parameters that lie in no prunable group but in such a one, reason, members."""
    free = shares(model, grouping.groups)
    by_reason: dict[str, list[Any]] = {}
    for group in grouping.locked:
        by_reason.setdefault(group.reason or "", []).append(group)
    rows = [
        (
            (shares(model, [*grouping.groups, *groups]) - free) / total,
            reason,
            [f"{g.name}[{g.channels}]" for g in groups],
        )
        for reason, groups in by_reason.items()
    ]
    return sorted(rows, reverse=True)


def half(model: nn.Module, trace: zoo.Trace, grouping: Grouping) -> int:
    """Parameters left once every group has lost half of its channels; the network is run to see that it still does."""
    surgeon = Surgeon(model, grouping)
    masks = []
    for group in grouping.groups:
        order = np.random.default_rng(0).permutation(group.channels)
        masks.append(order < max(group.least, round(group.channels / 2)))
    if masks:
        surgeon.cut(torch.from_numpy(np.concatenate(masks)))
    with torch.no_grad():
        list(zoo.tensors(trace(model)))
    return sum(p.numel() for p in model.parameters())


@contextmanager
def patience(seconds: int) -> Iterator[None]:
    """Raises TimeoutError after some seconds."""

    def stop(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def torch_pruning_half(key: str, grouping: Grouping, total: int) -> str:
    """The share that torch-pruning leaves at ratio 0.5, or how it fails; output layers are spared, as it asks for."""
    import torch_pruning as tp

    model, trace = zoo.build(key)
    outputs = {g.root for g in grouping.locked if "output" in (g.reason or "")}
    ignored = [module for name, module in model.named_modules() if name in outputs]
    try:
        with patience(PATIENCE), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pruner = tp.pruner.MetaPruner(
                model,
                torch.zeros(1),
                importance=tp.importance.GroupMagnitudeImportance(),
                pruning_ratio=0.5,
                ignored_layers=ignored,
                forward_fn=lambda m, _: [t + 0 for t in zoo.tensors(trace(m)) if t.requires_grad],
            )
            pruner.step()
    except Exception as error:
        return f"fails: {type(error).__name__}"
    left = sum(p.numel() for p in model.parameters()) / total
    try:
        with torch.no_grad():
            list(zoo.tensors(trace(model)))
    except Exception as error:
        return f"{left:.2f}, does not run: {type(error).__name__}"
    return f"{left:.2f}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print("ROW " + json.dumps(measure(sys.argv[1])))
