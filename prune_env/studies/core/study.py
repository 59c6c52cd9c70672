"""Base class of studies: independent jobs make rows; claims, figure and tables are made from the rows alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from matplotlib.figure import Figure

from prune_env.dense import CheckpointSpec
from prune_env.provenance import code_digest
from prune_env.storage import config_hash

Value = str | int | float
Row = dict[str, Value]
Rows = list[Row]
Verdict = Literal["agrees", "disagrees", "cannot be decided"]


_CODE = (
    *(f"prune_env/{part}" for part in ("groups", "importance", "targets", "dense", "envs", "repair", "training.py")),
    "prune_env/studies/core/harness.py",
    "prune_env/baselines",
)
"""Code on which the rows of a job depend, besides the module of its function."""


@dataclass(frozen=True)
class Job:
    """One independent job, such as one seed of one network; equal jobs make equal rows, bit for bit.

    Attributes:
        function: A module-level function, called with the arguments by name. Its floats are rounded to nine digits.
        arguments: Its arguments, as JSON.
        depends: Other settings that decide the rows, as JSON, such as defaults that are no arguments.
        networks: Dense networks that it loads; they are trained before.
    """

    function: Callable[..., Rows]
    arguments: Mapping[str, Any]
    depends: Mapping[str, Any] = field(default_factory=dict)
    networks: tuple[CheckpointSpec, ...] = ()

    def made_by(self) -> dict[str, Any]:
        """Everything besides the code that decides the rows, as JSON."""
        return {
            "function": f"{self.function.__module__}.{self.function.__qualname__}",
            "arguments": dict(self.arguments),
            "depends": dict(self.depends),
            "torch": torch.__version__,
        }

    @property
    def key(self) -> str:
        """Hash of `made_by`, the key of the cached rows; studies with equal jobs share them."""
        return config_hash(self.made_by())

    @property
    def code(self) -> str:
        """Hash of the code that makes the rows; rows of other code are made again."""
        return code_digest(*_CODE, inspect.getfile(self.function))


@dataclass(frozen=True)
class Claim:
    """A statement of a paper beside what was measured here.

    Attributes:
        paper: What the paper says.
        measured: What was measured.
        verdict: The verdict, computed from the rows.
        rule: The rule of the verdict, in words.
    """

    paper: str
    measured: str
    verdict: Verdict
    rule: str


class Study:
    """One table, figure or question of a paper.

    A subclass defines the jobs; everything else is made from their rows, in the order of the jobs. `quick` selects a
    smaller setting, which `setting` describes.

    Attributes:
        name: Name on the command line and of the folder.
        title: Title of the page.
        seeds: Default seeds.
        quick_seeds: Default seeds of the quick setting.
        data_from: Studies whose data.csv together hold the rows that `data` needs; empty if `data` of a study is made
            of the rows of its own jobs only.
    """

    name: str
    title: str
    seeds: tuple[int, ...] = (0, 1, 2)
    quick_seeds: tuple[int, ...] = (0, 1)
    data_from: tuple[str, ...] = ()

    def setting(self, quick: bool) -> str:
        """Description of the experiment and of what is smaller than in the paper, in Markdown."""
        raise NotImplementedError(f"{type(self).__name__} must implement setting(quick)")

    def jobs(self, quick: bool, seeds: Sequence[int]) -> list[Job]:
        """The jobs to run."""
        raise NotImplementedError(f"{type(self).__name__} must implement jobs(quick, seeds)")

    def data(self, rows: Rows, quick: bool) -> Rows:
        """The rows of data.csv, from which claims, figure and tables are made; by default all rows of the jobs."""
        return rows

    def claims(self, rows: Rows, quick: bool) -> list[Claim]:
        """The paper's statements beside the measured ones."""
        return []

    def draw(self, rows: Rows, quick: bool) -> Figure | None:
        """The figure, drawn in the style of `prune_env.benchmark.plot_style`."""
        return None

    def table(self, rows: Rows, quick: bool) -> str:
        """Further tables, in Markdown."""
        return ""
