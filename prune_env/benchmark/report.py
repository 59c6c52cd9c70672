"""A report of a benchmark run from its files alone: which policy is best, by how much, and how it was measured.

`write_report` leaves `index.html` (one page that can be read without the other files), `table.csv`, `table.md` and the
folder `plots/`; `print_report` shows the same table in a terminal. The same records give the same page.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.progress import track
from rich.table import Table
from rich.text import Text

from prune_env.benchmark.agent_training import AgentTraining, Trainings, read_trainings
from prune_env.benchmark.headline import headline, notes
from prune_env.benchmark.html import Picture, page
from prune_env.benchmark.leaderboard import Leaderboard, rank_policies
from prune_env.benchmark.plot_ratios import plot_ratios
from prune_env.benchmark.plot_scores import plot_areas, plot_profile, plot_retained
from prune_env.benchmark.plot_search import plot_best_so_far
from prune_env.benchmark.plot_style import save_figure
from prune_env.benchmark.plot_training import plot_learning_curve
from prune_env.benchmark.records import Records
from prune_env.benchmark.table import table_csv, table_markdown, table_rows
from prune_env.markup import markdown_text, terminal_text
from prune_env.storage import write_atomically

Draw = Callable[[bool], Figure]
"""Draws a picture, for a wide screen or (True) for a narrow one."""


def write_report(run_dir: str | Path) -> Path:
    """Write the report of a run into its folder.

    Args:
        run_dir: The folder with `records.jsonl`; also read are `agents.json` and `command.txt`, where they exist.

    Returns:
        The path of the HTML page.

    Raises:
        FileNotFoundError: If there are no records.
        ValueError: If a file is damaged or holds nothing.
    """
    run_dir = Path(run_dir)
    board = rank_policies(Records.read(run_dir))
    trainings = _trainings(board, read_trainings(run_dir))
    pictures = []
    terminal = Console(stderr=True)
    drawings = _drawings(board, trainings)
    for name, caption, draw in track(drawings, "drawing", console=terminal, disable=not terminal.is_terminal):
        wide, _ = save_figure(draw(False), run_dir / "plots" / name)
        narrow, _ = save_figure(draw(True), run_dir / "plots" / f"{name}_narrow")
        pictures.append(Picture(caption, wide, narrow))
    write_atomically(run_dir / "table.csv", table_csv(board).encode())
    write_atomically(run_dir / "table.md", _markdown(board).encode())
    command = run_dir / "command.txt"
    words = command.read_text(encoding="utf-8").strip() if command.exists() else ""
    write_atomically(run_dir / "index.html", page(board, pictures, trainings, words).encode())
    return run_dir / "index.html"


def print_report(run_dir: str | Path, console: Console | None = None) -> None:
    """Print the headline and the table of a run; a narrow terminal gets fewer columns."""
    _print(rank_policies(Records.read(run_dir)), console or Console())


def table_text(records: Records, width: int = 160) -> str:
    """The headline and the table as plain text, at most `width` characters wide."""
    text = io.StringIO()
    _print(rank_policies(records), Console(file=text, width=width, force_terminal=False))
    return text.getvalue()


def _print(board: Leaderboard, console: Console) -> None:
    for sentence in headline(board):
        console.print(Text(terminal_text(sentence)))
    headers, rows = table_rows(board)
    # What a narrow terminal goes without, in this order.
    spare = ["trial steps", "hypervolume", *(f"{cost} removed" for cost in board.records.costs)]
    spare += [
        "trial steps",
        "agent better",
        "unclipped",
        "trial cuts",
        "networks",
        "agent's lead [95 %]",
        "collapsed",
        "kind",
    ]
    spare += [f"{100 * budget:g}%" for budget in board.scores.budgets]
    for count in range(len(spare) + 1):
        table = _rich_table(board, headers, rows, without=spare[:count])
        if Measurement.get(console, console.options.update(width=1000), table).maximum <= console.width:
            break
    console.print(table)
    for note in notes(board):
        console.print(Text(terminal_text(note)))


def _rich_table(board: Leaderboard, headers: list[str], rows: list[list[str]], without: Sequence[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    columns = [c for c, name in enumerate(headers) if name not in without]
    for c in columns:
        table.add_column(
            Text(terminal_text(headers[c])),
            justify="left" if headers[c] in ("policy", "kind") else "right",
            no_wrap=c > 0,
            overflow="fold",
        )
    for s, row in zip(board.standings, rows, strict=True):
        style = {"agent": "bold green", "plain": "", "privileged": "cyan"}[s.kind] if s.ranked else "dim"
        table.add_row(*(Text(terminal_text(row[c])) for c in columns), style=style)
    return table


def _markdown(board: Leaderboard) -> str:
    sentences = [markdown_text(sentence) for sentence in headline(board)]
    return "\n\n".join([" ".join(sentences), table_markdown(board), *map(markdown_text, notes(board))]) + "\n"


def _trainings(board: Leaderboard, known: Mapping[str, AgentTraining]) -> dict[str, list[AgentTraining]]:
    """Label -> the training of every seed, of the agents that have some on record."""
    found = {}
    for s in board.standings:
        seeds = [known[member] for member in board.records.members(s.policy) if member in known]
        if s.kind == "agent" and seeds:
            found[s.policy] = seeds
    return found


_CAPTIONS = {
    "retained_score": "Retained score R on test data against sparsity, unclipped: mean over networks and 95 % band. 1 "
    "is the dense network, 0 the floor.",
    "area_under_curve": "Area under the curve of max(R, 0): mean over networks, 95 % interval. Hollow: privileged.",
    "performance_profile": "Performance profile: share of networks on which the area exceeds a threshold. Higher is "
    "better.",
    "best_so_far": "Anytime curves: retained score on validation data of the best trial so far, against trials; mean "
    "over all runs, with scores below 0, and runs without a trial yet, as 0. Test scores are in the table.",
    "ratios_per_group": "Share of each group's channels that a policy removed, mean over networks, at each sparsity.",
}


def _drawings(board: Leaderboard, trainings: Trainings) -> list[tuple[str, str, Draw]]:
    """File name, caption, and what draws it, of everything that there is to draw."""
    plots: dict[str, Callable[[Leaderboard, bool], Figure]] = {}
    if board.best("agent", "plain", "privileged"):
        plots = {
            "retained_score": plot_retained,
            "area_under_curve": plot_areas,
            "performance_profile": plot_profile,
        }
    if any(r.best_trials for r in board.records.results):
        plots["best_so_far"] = plot_best_so_far
    if any(s.complete for s in board.standings) and any(r.ratios for r in board.records.results):
        plots["ratios_per_group"] = plot_ratios
    drawings: list[tuple[str, str, Draw]] = [(n, _CAPTIONS[n], partial(plot, board)) for n, plot in plots.items()]
    for i, (label, seeds) in enumerate(trainings.items()):
        drawn = [training for training in seeds if training.returns]
        if drawn:
            caption = f"Learning curve of {label}: returns of evaluations on training networks while it was trained."
            drawings.append((f"learning_curve_{i + 1}", caption, partial(plot_learning_curve, drawn)))
    return drawings
