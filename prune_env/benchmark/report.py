"""A report of a benchmark run from its files alone: who won, by how much, and how it was measured.

`write_report` leaves `index.html` (one page that needs nothing else), `table.csv`, `table.md` and the folder `plots/`;
`print_report` shows the same table in a terminal. The same records give the same page.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.progress import track
from rich.table import Table
from rich.text import Text

from prune_env.benchmark import plots
from prune_env.benchmark.headline import headline, notes, table_rows
from prune_env.benchmark.html import page
from prune_env.benchmark.records import Records
from prune_env.benchmark.statistics import Competition, summarise
from prune_env.storage import write_atomically

Picture = tuple[str, str, Callable[[], Figure]]
"""File name, caption, and what draws it."""

_SPARED = ("hypervolume", "evaluations", "P(agent better)", "runs", "collapsed", "kind")
"""Columns that a narrow terminal goes without, in this order; then retained scores go, the lowest sparsity first."""


def write_report(run_dir: str | Path, learning_curve: str | Path | None = None) -> Path:
    """Write the report of a run into its folder.

    Args:
        run_dir: The folder with `records.jsonl`, and `command.txt` if the command is to be shown.
        learning_curve: The agent's `evaluations.npz`; by default every such file under `run_dir`.

    Returns:
        The path of the HTML page.

    Raises:
        FileNotFoundError: There are no records, or no such learning curve.
        ValueError: A file holds nothing, or something else.
    """
    run_dir = Path(run_dir)
    competition = summarise(Records.read(run_dir))
    curves = sorted(run_dir.rglob("evaluations.npz")) if learning_curve is None else [Path(learning_curve)]
    figures = []
    pictures = _pictures(competition, curves)
    terminal = Console(stderr=True)
    for name, caption, draw in track(pictures, "drawing", console=terminal, disable=not terminal.is_terminal):
        png, _ = plots.save_figure(draw(), run_dir / "plots" / name)
        figures.append((caption, png))
    write_atomically(run_dir / "table.csv", _csv(competition).encode())
    write_atomically(run_dir / "table.md", _markdown(competition).encode())
    command = run_dir / "command.txt"
    words = command.read_text(encoding="utf-8").strip() if command.exists() else ""
    write_atomically(run_dir / "index.html", page(competition, figures, words).encode())
    return run_dir / "index.html"


def print_report(run_dir: str | Path, console: Console | None = None) -> None:
    """Print the headline and the table of a run; a narrow terminal gets fewer columns."""
    _print(summarise(Records.read(run_dir)), console or Console())


def table_text(records: Records, width: int = 160) -> str:
    """The headline and the table as plain text, at most `width` characters wide."""
    text = io.StringIO()
    _print(summarise(records), Console(file=text, width=width, force_terminal=False))
    return text.getvalue()


def _print(competition: Competition, console: Console) -> None:
    for sentence in headline(competition):
        console.print(Text(sentence))
    headers, rows = table_rows(competition)
    spare = [*_SPARED, *(f"{100 * budget:g}%" for budget in competition.scores.budgets)]
    for count in range(len(spare) + 1):
        table = _rich_table(competition, headers, rows, without=spare[:count])
        if Measurement.get(console, console.options.update(width=1000), table).maximum <= console.width:
            break
    console.print(table)
    for note in notes(competition):
        console.print(Text(note))


def _rich_table(competition: Competition, headers: list[str], rows: list[list[str]], without: Sequence[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    columns = [c for c, name in enumerate(headers) if name not in without]
    for c in columns:
        table.add_column(
            Text(headers[c]),
            justify="left" if headers[c] in ("policy", "kind") else "right",
            no_wrap=c > 0,
            overflow="fold",
        )
    for s, row in zip(competition.standings, rows, strict=True):
        style = {"agent": "bold green", "plain": "", "privileged": "cyan"}[s.kind] if s.ranked else "dim"
        table.add_row(*(Text(row[c]) for c in columns), style=style)
    return table


def _csv(competition: Competition) -> str:
    """One row per policy with plain numbers; empty where there is none."""
    text = io.StringIO()
    budgets = [f"{budget:g}" for budget in competition.scores.budgets]
    intervals = ["area", *(f"retained_{budget}" for budget in budgets), "probability_agent_better"]
    single = ["hypervolume", "collapsed", "evaluations", "runs_complete", "runs_expected"]
    header = [
        "policy",
        "kind",
        "on_budget",
        *(f"{n}{end}" for n in intervals for end in ("", "_low", "_high")),
        *single,
    ]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for s in competition.standings:
        numbers = [*s.area, *(v[b] for b in range(len(budgets)) for v in s.retained)]
        numbers += s.improvement or [math.nan] * 3
        numbers += [s.hypervolume, s.collapsed, s.evaluations]
        cells = [f"{float(n):.6g}" if math.isfinite(n) else "" for n in numbers]
        writer.writerow([s.policy, s.kind, s.on_budget, *cells, s.complete, s.expected])
    return text.getvalue()


def _markdown(competition: Competition) -> str:
    headers, rows = table_rows(competition)
    lines = [headers, ["---", "---", *["---:"] * (len(headers) - 2)], *rows]
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return "\n\n".join([" ".join(headline(competition)), table, *notes(competition)]) + "\n"


_CAPTIONS = {
    "retained_score": "Retained score on test data against sparsity: interquartile mean over all runs and 95 % "
    "stratified bootstrap band. 1 is the dense network, 0 the floor.",
    "area_under_curve": "Area under the retained-score curve: interquartile mean, 95 % interval. Hollow: privileged.",
    "performance_profile": "Performance profile: share of runs whose area exceeds a threshold. Higher is better.",
    "ratios_per_group": "Share of each group's channels that a policy removed, mean over networks, at each sparsity.",
}


def _pictures(competition: Competition, curves: Sequence[Path]) -> list[Picture]:
    """What there is to draw."""
    drawn: dict[str, Callable[[Competition], Figure]] = {}
    if competition.best("agent", "plain", "privileged"):
        drawn = {
            "retained_score": plots.plot_retained,
            "area_under_curve": plots.plot_areas,
            "performance_profile": plots.plot_profile,
        }
    if any(s.complete for s in competition.standings) and any(r.ratios for r in competition.records.results):
        drawn["ratios_per_group"] = plots.plot_ratios
    pictures: list[Picture] = [(name, _CAPTIONS[name], partial(draw, competition)) for name, draw in drawn.items()]
    for i, curve in enumerate(curves):
        caption = f"Learning curve of the agent, from {curve.parent.name}/{curve.name}."
        name = f"learning_curve_{i + 1}" if i else "learning_curve"
        pictures.append((name, caption, partial(plots.plot_learning_curve, curve)))
    return pictures
