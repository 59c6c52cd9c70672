"""Which points the experiment on the paper-size controller has, in the order in which they are run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

from prune_env.dense import CheckpointSpec, identify
from prune_env.importance import MEASURES
from prune_env.studies.component_aware.paper_job import (
    CONTROLLERS,
    DENSE,
    ENCODER,
    FREE,
    NETWORK,
    OBSERVED,
    PROTECTED,
    RANDOM,
    TASK,
    WEIGHTED,
    paper_point,
)
from prune_env.studies.core import Job, Rows, depends_on
from prune_env.validation import Range, check_value

VANILLA, LOCAL, AWARE = "depgraph-global", "depgraph-local", "l2"
MEASURED = {f"importance:measure={name}": MEASURES[name].label for name in OBSERVED}
METHODS = {
    VANILLA: "vanilla DepGraph, global",
    LOCAL: "vanilla DepGraph, local",
    AWARE: "component-aware, L2",
    **{name: f"component-aware, {label}" for name, label in MEASURED.items()},
}
"""Policy -> what it is called. Vanilla pruning knows no components, so nothing can be protected in it."""
SPARSITIES = tuple(step / 100 for step in range(5, 85, 5))
ASKED = 0.4
STARTS = 20
# Points that tell most come first, so that an interrupted run is of use.
_FIRST = (0.4, 0.2, 0.6, 0.8, 0.3, 0.5, 0.1, 0.7)

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Amount:
    """How much of the experiment to run.

    Attributes:
        episodes: Test episodes of every point; at least 20 in the full experiment.
        steps: Updates of fine-tuning; 0 scores right after the cut only.
        planner: Whether the planner acts too; it takes ten times as long as the policy.
        methods: Names of `METHODS`; all if empty.
        sparsities: Those of `SPARSITIES` to run; all if empty.
        encoder: Keys of `ENCODER`; all if empty.
        seeds: Seeds of fine-tuning. Cuts draw nothing, so right after the cut there is one.

    Raises:
        ValueError: If a value is unknown or out of range.
    """

    episodes: int = STARTS
    steps: int = 0
    planner: bool = False
    methods: Sequence[str] = ()
    sparsities: Sequence[float] = ()
    encoder: Sequence[str] = ()
    seeds: Sequence[int] = (0, 1, 2)

    def __post_init__(self) -> None:
        check_value("episodes", self.episodes, int, Range(1))
        check_value("fine_tune", self.steps, int, Range(0))
        known: tuple[tuple[str, Sequence[Any], Sequence[Any]], ...] = (
            ("method", self.methods, tuple(METHODS)),
            ("sparsity", self.sparsities, SPARSITIES),
            ("treatment of the encoder", self.encoder, tuple(ENCODER)),
        )
        for what, given, allowed in known:
            if unknown := [value for value in given if value not in allowed]:
                raise ValueError(f"unknown {what} {unknown[0]!r}; known: {', '.join(map(str, allowed))}")


@dataclass(frozen=True)
class Point:
    """One cut, scored with one or both controllers."""

    method: str
    encoder: str
    sparsity: float
    seed: int
    steps: int
    controllers: tuple[str, ...]
    episodes: int

    def key(self, controller: str) -> Key:
        """What identifies its row of one controller."""
        return (self.method, self.encoder, self.sparsity, self.seed, self.steps, self.episodes, controller)

    def job(self) -> Job:
        """The job that makes its rows."""
        arguments = {**vars(self), "controllers": list(self.controllers)}
        return Job(paper_point, arguments, _depends())  # its network ships with the package: nothing is trained before


@cache
def _depends() -> dict[str, Any]:
    """What the rows depend on besides their point."""
    return {**depends_on(NETWORK), "dense": identify(CheckpointSpec("tdmpc", TASK))}


def key_of(row: dict[str, Any]) -> Key:
    """What identifies a row; see `Point.key`."""
    return tuple(row[name] for name in ("method", "encoder", "sparsity", "seed", "steps", "episodes", "controller"))


def points(amount: Amount) -> list[Point]:
    """The points to run: references first, then every treatment of the encoder, each with the telling sparsities first.

    Fine-tuned points come after all that are scored right after the cut.
    """
    controllers = CONTROLLERS if amount.planner else CONTROLLERS[:1]
    sparsities = sorted(amount.sparsities or SPARSITIES, key=lambda s: (_FIRST.index(s) if s in _FIRST else 9, s))
    cuts = [
        (method, encoder, sparsity)
        for encoder, sparsity, method in product((FREE, PROTECTED, WEIGHTED), sparsities, METHODS)
        if (not amount.methods or method in amount.methods)
        and (not amount.encoder or encoder in amount.encoder)
        and not (encoder != FREE and method in (VANILLA, LOCAL))
    ]
    references = [Point(name, FREE, 0.0, 0, 0, controllers, amount.episodes) for name in (DENSE, RANDOM)]
    after_cut = [Point(*cut, 0, 0, controllers, amount.episodes) for cut in cuts]
    tuned = [
        Point(*cut, seed, amount.steps, controllers, amount.episodes)
        for cut in cuts
        for seed in amount.seeds
        if amount.steps
    ]
    return references + after_cut + tuned


def missing(wanted: Sequence[Point], rows: Rows) -> list[Point]:
    """The points of which rows are missing, with the controllers that are missing."""
    kept = {key_of(row) for row in rows}
    return [
        replace(point, controllers=lacking)
        for point in wanted
        if (lacking := tuple(c for c in point.controllers if point.key(c) not in kept))
    ]
