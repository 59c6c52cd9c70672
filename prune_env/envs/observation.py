"""What a policy sees: one table of columns, a row for each group, flattened.

Letters: G groups, F columns, W present channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from gymnasium.spaces import Box

from prune_env.importance import (
    CRITERIA,
    MEASURES,
    PAPER_MEASURES,
    ChannelSums,
    CriterionContext,
    ImportanceTracker,
    group_means,
)
from prune_env.open_sets import find


@dataclass(frozen=True)
class Column:
    """One feature of a group.

    Attributes:
        name: How heuristics ask for it.
        low: Least value; anything below is clipped.
        high: Greatest value.
        meaning: In words, with units.
        relative: Whether only differences between groups mean something, as its scale is that of the loss.
    """

    name: str
    low: float
    high: float
    meaning: str
    relative: bool = False


def _measure_column(measure: str) -> Column:
    if MEASURES[measure].signed:
        return Column(measure, -1, 1, f"{MEASURES[measure].meaning}, divided by its largest magnitude")
    return Column(measure, -20, 20, f"log10 of the smoothed {MEASURES[measure].meaning}", relative=True)


def _criterion_column(criterion: str) -> Column:
    meaning = f"log10 of the mean over channels of the criterion {criterion!r}"
    return Column(criterion, -20, 20, meaning, relative=True)


BAYES_COLUMNS = {"literal": "bayes", "corrected": "bayes_corrected"}
"""Variant of the Bayes measure -> its column."""
CONTEXT_COLUMNS = (
    Column("weight_mean", -20, 20, "log10 of mean |w| over the root layer"),
    Column("weight_rms", -20, 20, "log10 of the root mean square w over the root layer"),
    Column("channels", 0, 12, "log10 of the channels present"),
    Column("size", 0, 12, "log10 of the root layer's parameters"),
    Column("kept", 0, 1, "share of the dense group's channels that is present"),
    Column("parameters", 0, 1, "share of the network's present parameters that lies in the root layer"),
    Column("coupling", 0, 1, "1 for a coupling group, 0 for a component group"),
    Column("sparsity", 0, 1, "share of the network's parameters removed so far"),
    Column("budget_left", -1, 1, "sparsity still to go to the budget; 0 without a budget"),
    Column("retained", -1, 2, "retained score of the network"),
    Column("progress", 0, 1, "share of the rounds that is over"),
)
PRESENT = Column("present", 0, 1, "1 for a group of the network, 0 for padding")
"""The last column of padded observations; see `ZooEnv`."""
SIZE_COLUMNS = ("channels", "size", "kept", "parameters")
"""The columns that tell how large a group is."""
FORMS: dict[str, tuple[str, ...]] = {
    "importance": PAPER_MEASURES,
    "full": (*PAPER_MEASURES, *(column.name for column in CONTEXT_COLUMNS)),
}
"""Observations by name: their columns."""


def known_columns() -> dict[str, Column]:
    """All columns: one for every measure, the context, and one for every other criterion that costs little."""
    criteria = {
        c: _criterion_column(c) for c, criterion in CRITERIA.items() if not (criterion.costly or criterion.draws)
    }
    return criteria | {m: _measure_column(m) for m in MEASURES} | {column.name: column for column in CONTEXT_COLUMNS}


def columns_of(observation: str | Sequence[str], bayes: str = "literal") -> tuple[Column, ...]:
    """Columns of an observation: a form by name, or columns by name.

    Args:
        observation: A name of `FORMS`, or names of columns, among which names of forms stand for their columns.
        bayes: Which variant of the Bayes measure a form shows.

    Raises:
        ValueError: If the form or a column is unknown.
    """
    forms = {
        form: tuple(BAYES_COLUMNS[bayes] if name == "bayes" else name for name in names)
        for form, names in FORMS.items()
    }
    if isinstance(observation, str):
        names = find("observation", observation, forms)
    else:
        names = tuple(name for given in observation for name in forms.get(given, (given,)))
    if not names or len(set(names)) < len(names):
        raise ValueError(f"an observation names each of its columns once, and at least one; got {observation!r}")
    known = known_columns()
    return tuple(find("column", name, known) for name in names)


def observation_space(columns: tuple[Column, ...], groups: int) -> Box:
    """Box [G * F], group by group."""
    low, high = (np.array([getattr(c, side) for c in columns] * groups, dtype=np.float32) for side in ("low", "high"))
    return Box(low, high, dtype=np.float32)


def observe(
    columns: tuple[Column, ...],
    tracker: ImportanceTracker,
    *,
    sparsity: float,
    budget_left: float,
    retained: float,
    progress: float,
    parameters: float,
    context: CriterionContext | None = None,
) -> np.ndarray:
    """The observation, a fresh float32 array [G * F], finite and within the space.

    Args:
        columns: The table's columns.
        tracker: Importance and, through its surgeon, weights and widths.
        sparsity: Share of parameters removed.
        budget_left: Sparsity still to go.
        retained: Retained score.
        progress: Share of rounds that is over.
        parameters: Parameters of the network now.
        context: What criteria read, for columns of criteria.
    """
    surgeon = tracker.surgeon
    groups = len(surgeon.grouping)
    measures = [column.name for column in columns if column.name in MEASURES]
    values: dict[str, np.ndarray] = {}
    if measures:
        numbers = tracker.groups(measures)
        values |= zip(measures, _log10(numbers), strict=True)
        values |= {name: _relative(row) for name, row in zip(measures, numbers, strict=True) if MEASURES[name].signed}
    others = {column.name for column in columns} - set(measures)
    if context is not None:
        values |= {name: _log10(group_values(name, context)) for name in others & set(CRITERIA)}
    if others - set(CRITERIA):
        sums = ChannelSums(surgeon)
        weights = sums.parameters
        table = torch.stack([sums.sum(weights, "absolute"), sums.sum(weights, "square"), sums.counts]).cpu()
        widths = surgeon.widths
        absolute, square, size = (table @ group_means(surgeon).T) * widths  # sums over each group, [G]
        values |= {
            "weight_mean": _log10(absolute / size),
            "weight_rms": _log10((square / size).sqrt()),
            "channels": _log10(widths.float()),
            "size": _log10(size),
            "kept": widths.numpy() / surgeon.grouping.widths,
            "parameters": size.numpy() / parameters,
            "coupling": np.array([group.kind == "coupling" for group in surgeon.grouping], dtype=float),
            "sparsity": np.full(groups, sparsity),
            "budget_left": np.full(groups, budget_left),
            "retained": np.full(groups, retained),
            "progress": np.full(groups, progress),
        }
    rows = np.stack([np.clip(values[c.name], c.low, c.high) for c in columns], axis=1)
    return rows.astype(np.float32).reshape(-1)


def group_values(criterion: str, context: CriterionContext) -> torch.Tensor:
    """Mean over a group's channels of a criterion, [G]."""
    values = CRITERIA[criterion].values(context)
    return values.cpu().float() @ group_means(context.surgeon).T


def _relative(values: torch.Tensor) -> np.ndarray:
    """Signed numbers divided by the largest magnitude; zero where none is finite."""
    numbers = np.nan_to_num(values.double().cpu().numpy(), nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(numbers / max(np.abs(numbers).max(initial=0.0), 1e-300))


def _log10(values: torch.Tensor) -> np.ndarray:
    """Log10, with zero (and a gradient that is not a number) at the bottom of the column's range."""
    return np.log10(np.nan_to_num(values.double().cpu().numpy(), nan=0.0, posinf=1e20).clip(1e-20))
