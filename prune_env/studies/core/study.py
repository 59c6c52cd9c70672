"""What a study is: independent jobs that make rows, and what is claimed, drawn and tabulated from the rows alone."""

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
"""What may decide the rows of a job, besides the module of its function."""


@dataclass(frozen=True)
class Job:
    """One independent piece of work, such as one seed of one network; equal jobs make equal rows, bit for bit.

    Attributes:
        function: At module level; called with the arguments by name. Its floats are kept to nine digits.
        arguments: As JSON.
        depends: What else decides the rows, as JSON: defaults that the arguments do not name, say.
        networks: Dense networks that it loads; they are trained before.
    """

    function: Callable[..., Rows]
    arguments: Mapping[str, Any]
    depends: Mapping[str, Any] = field(default_factory=dict)
    networks: tuple[CheckpointSpec, ...] = ()

    def made_by(self) -> dict[str, Any]:
        """Everything that decides the rows besides the code, as JSON."""
        return {
            "function": f"{self.function.__module__}.{self.function.__qualname__}",
            "arguments": dict(self.arguments),
            "depends": dict(self.depends),
            "torch": torch.__version__,
        }

    @property
    def key(self) -> str:
        """Hash of `made_by`, under which the rows are kept; studies that want the same job share them."""
        return config_hash(self.made_by())

    @property
    def code(self) -> str:
        """Hash of the code that makes the rows: rows of other code are made again."""
        return code_digest(*_CODE, inspect.getfile(self.function))


@dataclass(frozen=True)
class Claim:
    """A statement of a paper beside what was measured here.

    Attributes:
        paper: What the paper says.
        measured: What was measured.
        verdict: Computed from the rows by the rule.
        rule: In words, what decides the verdict.
    """

    paper: str
    measured: str
    verdict: Verdict
    rule: str


class Study:
    """One table, figure or question of a paper.

    A subclass says which jobs it needs; the rest is made of their rows, in the order of the jobs. `quick` asks for a
    smaller setting, which `setting` states.

    Attributes:
        name: On the command line, and of its folder.
        title: Of its page.
        seeds: Unless others are asked for.
        quick_seeds: The same for the quick setting.
    """

    name: str
    title: str
    seeds: tuple[int, ...] = (0, 1, 2)
    quick_seeds: tuple[int, ...] = (0, 1)

    def setting(self, quick: bool) -> str:
        """What is run, and in what it is smaller than the paper's; Markdown."""
        raise NotImplementedError(f"{type(self).__name__} must implement setting(quick)")

    def jobs(self, quick: bool, seeds: Sequence[int]) -> list[Job]:
        """The work to do."""
        raise NotImplementedError(f"{type(self).__name__} must implement jobs(quick, seeds)")

    def data(self, rows: Rows, quick: bool) -> Rows:
        """The rows of data.csv, of which claims, figure and table are made; by default all rows of the jobs."""
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
