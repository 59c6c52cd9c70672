"""Rows of a study, read by columns."""

from __future__ import annotations

from typing import Any

from prune_env.studies.core.study import Rows


def unique(rows: Rows, column: str) -> list[Any]:
    """The values of a column, ascending for numbers and in order of appearance for words."""
    values = list(dict.fromkeys(row[column] for row in rows))
    return values if any(isinstance(value, str) for value in values) else sorted(values)
