"""A finished or interrupted benchmark in its folder: its records, its table, its report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prune_env.benchmark.records import Records
from prune_env.benchmark.report import table_text, write_report
from prune_env.storage import expanded


@dataclass(frozen=True)
class Run:
    """What `compare` returns.

    Attributes:
        folder: Where the records lie.
        records: All records of the folder, old and new.
    """

    folder: Path
    records: Records

    @classmethod
    def read(cls, folder: str | Path) -> Run:
        """The run of a folder.

        Raises:
            FileNotFoundError: If it holds no records.
        """
        return cls(expanded(folder), Records.read(folder))

    def table(self, width: int = 160) -> str:
        """The headline and the table as plain text, at most `width` characters wide."""
        return table_text(self.records, width)

    def report(self) -> Path:
        """Write tables, plots and the HTML page into the folder, and return the path of the page."""
        return write_report(self.folder)
