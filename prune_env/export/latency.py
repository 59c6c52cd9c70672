"""How long a network takes: one definition for reports, tables and costs.

The median over many calls after a warm-up, on one thread, without gradients, in time of the processor: what a call
takes on a machine that does nothing else. Networks that are compared take turns, call by call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from prune_env.isolation import isolated
from prune_env.targets import EntryPoint, Target

Call = Callable[[], Any]

WARM_UP = 2
"""Calls that are not counted."""
LEAST, MOST = 5, 1000
"""Calls that are counted, of each network."""
SECONDS = 0.5
"""About how long all calls of one comparison take [s], between the bounds above."""
BATCHES = (1, 16)
"""Samples of a call that a report shows."""


# While other programs have the processor, it stands still; systems that count too coarsely have the wall clock.
_clock = time.thread_time if time.get_clock_info("thread_time").resolution < 1e-5 else time.perf_counter


@dataclass(frozen=True)
class Timing:
    """Time of one call.

    Attributes:
        median: Median [s].
        low: Lower end of its 95 % interval [s].
        high: Upper end [s].
        runs: Calls that were counted.
    """

    median: float
    low: float
    high: float
    runs: int


@dataclass(frozen=True)
class Latency:
    """Time of one call of an entry point, before and after pruning.

    Attributes:
        engine: "torch" or "onnxruntime".
        entry: Name of the entry point.
        batch: Samples.
        before: Of the dense network.
        after: Of the pruned network.
    """

    engine: str
    entry: str
    batch: int
    before: Timing
    after: Timing

    @property
    def speedup(self) -> float:
        """How many times faster the pruned network is."""
        return self.before.median / self.after.median


@isolated()
def time_calls(calls: Sequence[Call], seconds: float = SECONDS) -> list[Timing]:
    """Time of each call; they take turns.

    Args:
        calls: What is timed.
        seconds: About how long this may take, over all calls [s].
    """
    with torch.no_grad():
        for call in list(calls) * WARM_UP:
            call()
        times: list[list[float]] = [[] for _ in calls]
        begun = time.perf_counter()
        while len(times[0]) < LEAST or (time.perf_counter() - begun < seconds and len(times[0]) < MOST):
            for call, mine in zip(calls, times, strict=True):
                start = _clock()
                call()
                mine.append(_clock() - start)
    return [_timing(np.sort(mine)) for mine in times]


def _timing(times: np.ndarray) -> Timing:
    """The median of sorted times, with the order statistics between which it lies in 95 % of cases."""
    n = len(times)
    reach = 0.98 * np.sqrt(n)  # 1.96 standard deviations of a binomial with p = 1/2
    low, high = max(int(n / 2 - reach), 0), min(int(np.ceil(n / 2 + reach)), n - 1)
    return Timing(float(np.median(times)), float(times[low]), float(times[high]), n)


def torch_calls(target: Target, model: nn.Module, batches: Sequence[int] = BATCHES) -> dict[tuple[str, int], Call]:
    """Calls of a network in torch by entry point and batch size; `deploy` where the target has no entry points."""
    model.eval()
    points = target.entry_points(model)
    if not points:
        return {("deploy", 1): lambda: target.deploy(model)}
    return {(name, n): _bound(point, model, n) for name, point in points.items() for n in batches}


def _bound(point: EntryPoint, model: nn.Module, batch: int) -> Call:
    arguments = point.batch(batch)
    return lambda: point.call(model, *arguments)


def compare_calls(
    engine: str,
    before: Mapping[tuple[str, int], Call],
    after: Mapping[tuple[str, int], Call],
    seconds: float = SECONDS,
) -> list[Latency]:
    """Times of the same calls before and after pruning, about `seconds` [s] for each pair."""
    found = []
    for (entry, batch), call in before.items():
        if (entry, batch) in after:
            found.append(Latency(engine, entry, batch, *time_calls([call, after[entry, batch]], seconds)))
    return found


def compare_torch(
    target: Target,
    dense: nn.Module,
    pruned: nn.Module,
    batches: Sequence[int] = BATCHES,
    seconds: float = SECONDS,
) -> list[Latency]:
    """Latency of a network in torch before and after pruning; modes of both are put back."""
    modes = [(module, module.training) for model in (dense, pruned) for module in model.modules()]
    try:
        before, after = (torch_calls(target, model, batches) for model in (dense, pruned))
        return compare_calls("torch", before, after, seconds)
    finally:
        for module, training in modes:
            module.training = training
