"""Rows of a study: read by columns, written to CSV and read back."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from prune_env.studies.core.study import Row, Rows, Value


def unique(rows: Rows, column: str) -> list[Any]:
    """The values of a column, ascending for numbers and in order of appearance for words."""
    values = list(dict.fromkeys(row[column] for row in rows))
    return values if any(isinstance(value, str) for value in values) else sorted(values)


def to_csv(rows: Rows) -> str:
    """Rows as CSV: columns in order of appearance, floats to nine digits, empty where a row has no such column."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name, "")) for name in columns] for row in rows)
    return text.getvalue()


def read_csv(path: Path) -> Rows:
    """The rows of a file that `to_csv` made; a row lacks the columns that are empty in it.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open(newline="") as file:
        return [_row(cells) for cells in csv.DictReader(file)]


def _cell(value: Value) -> Value:
    return f"{value:.9g}" if isinstance(value, float) else value


def _row(cells: dict[str, str]) -> Row:
    return {name: _value(cell) for name, cell in cells.items() if cell != ""}


def _value(cell: str) -> Value:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            pass
    return cell
