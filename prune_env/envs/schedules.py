"""Schedules over rounds: which share of the cost may be left after a round, on the way to a budget.

A schedule maps (progress, budget) to a share: progress is the share of the rounds that is over after this one, in
(0, 1]; budget is the sparsity to end at. Every schedule is 1 - budget at progress 1.
"""

from __future__ import annotations

from collections.abc import Callable

from prune_env.open_sets import add

Schedule = Callable[[float, float], float]


def geometric(progress: float, budget: float) -> float:
    """(1 - budget)^progress: every round removes the same share of what is present."""
    return (1.0 - budget) ** progress


def linear(progress: float, budget: float) -> float:
    """1 - budget * progress: every round removes the same share of the dense network."""
    return 1.0 - budget * progress


def cubic(progress: float, budget: float) -> float:
    """1 - budget * (1 - (1 - progress)^3): fast at first, slow at the end (Zhu and Gupta 2017, arXiv 1710.01878)."""
    return 1.0 - budget * (1.0 - (1.0 - progress) ** 3)


def one_shot(progress: float, budget: float) -> float:
    """1 - budget from the first round on; the other rounds only train."""
    return 1.0 - budget


SCHEDULES: dict[str, Schedule] = {"geometric": geometric, "linear": linear, "cubic": cubic, "one-shot": one_shot}


def register_schedule(name: str, schedule: Schedule) -> None:
    """Make a schedule known under a name.

    Raises:
        ValueError: If the name is taken.
    """
    add("schedule", name, schedule, SCHEDULES)
