"""The report of a benchmark as one HTML page, with its pictures inside and links to the files beside it."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prune_env.benchmark.agent_training import Trainings
from prune_env.benchmark.headline import headline, notes
from prune_env.benchmark.leaderboard import Leaderboard
from prune_env.benchmark.plot_style import DPI
from prune_env.benchmark.records_file import FILE_NAME
from prune_env.benchmark.result import Failure
from prune_env.benchmark.table import number, table_rows
from prune_env.markup import html_lines, html_text

CSS = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #5b6670; --line: #dfe3e7; --paper: #fff; --mark: #fdf1e7; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ea; --soft: #9aa5af; --line: #363d44; --paper: #16191c; --mark: #33261b; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 70rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
@media (max-width: 700px) { body { margin: 1rem auto; } h1 { font-size: 1.6rem; } }
.lead { font-size: 1.15rem; } .lead p:first-child { font-weight: 600; } .note, figcaption { color: var(--soft); }
.wide { overflow-x: auto; overflow-wrap: normal; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
th { white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--paper); }
@media (max-width: 700px) { th:first-child, td:first-child { white-space: normal; max-width: 9rem; } }
tr.agent td { background: var(--mark); font-weight: 600; } tr.privileged td:first-child { font-style: italic; }
tr.unranked td { color: var(--soft); } figure { margin: 2rem 0; overflow-x: auto; }
figure img { background: #fff; border-radius: 6px; vertical-align: top; }
summary { cursor: pointer; }
pre { overflow-x: auto; padding: .6rem; border: 1px solid var(--line); border-radius: 6px; font-size: .8rem; }
dt { font-weight: 600; } dd { margin: 0 0 .5rem 1.5rem; }
"""


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Attributes:
        caption: What it shows.
        wide: PNG for wide screens.
        narrow: PNG for small screens.
    """

    caption: str
    wide: Path
    narrow: Path


def page(board: Leaderboard, pictures: Sequence[Picture], trainings: Trainings, command: str) -> str:
    """The page; the command may be empty."""
    parts = [
        "<h1>Pruning benchmark</h1>",
        f'<div class="lead">{_paragraphs(headline(board))}</div>',
        _standings(board),
        _links(),
        _paragraphs(_READING, "note"),
        *map(_figure, pictures),
        _agents(trainings),
        _problems(board),
        _method(board, command),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Pruning benchmark</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{CSS}</style></head>\n<body>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


_READING = [
    "Area: area under the curve of max(R, 0) over the sparsities, R being the retained score, divided by their range; "
    "mean over networks and training seeds [95 % interval]. Unclipped: the same of R itself. Percentages: mean R at "
    "that sparsity. Hypervolume: area that a curve dominates from (sparsity 0, R 0). Trial cuts: pruned networks "
    "scored before answering, for each network and sparsity. Removed: mean share of that cost over networks and "
    "sparsities. Agent's lead: difference of the areas of the best agent and this policy, paired over networks. Agent "
    "better: share of networks on which it has the larger area, ties as one half.",
    "Plain heuristics and agents see the observation only; privileged policies see the network or score trial cuts. "
    "The best of several policies is chosen on these very runs, which flatters the best heuristic and the best agent.",
]


def _links() -> str:
    files = {FILE_NAME: "all records", "table.csv": "this table as CSV", "table.md": "as Markdown", "plots/": "plots"}
    links = ", ".join(f'<a href="{file}">{text}</a>' for file, text in files.items())
    return f'<p class="note">Files beside this page: {links}.</p>'


def _figure(picture: Picture) -> str:
    """A picture in its natural size; one that is too wide for the screen is scrolled, so that it stays readable."""
    wide, narrow = (base64.b64encode(path.read_bytes()).decode() for path in (picture.wide, picture.narrow))
    density = f"{DPI / 96:g}x"  # browsers count 96 pixels an inch
    caption = html_text(picture.caption)
    return (
        "<figure><picture>"
        f'<source media="(max-width: 700px)" srcset="data:image/png;base64,{narrow} {density}">'
        f'<img alt="{caption}" srcset="data:image/png;base64,{wide} {density}">'
        f"</picture><figcaption>{caption}</figcaption></figure>"
    )


def _paragraphs(sentences: Iterable[str], css_class: str = "") -> str:
    return "".join(f'<p class="{css_class}">{html_text(sentence)}</p>' for sentence in sentences)


def _standings(board: Leaderboard) -> str:
    headers, rows = table_rows(board)
    lines = ["<tr>" + "".join(f"<th>{html_text(h)}</th>" for h in headers) + "</tr>"]
    for s, row in zip(board.standings, rows, strict=True):
        css_class = s.kind if s.ranked else "unranked"
        cells = "".join(f"<td>{html_text(cell)}</td>" for cell in row)
        lines.append(f'<tr class="{css_class}" title="{html_text(s.policy)}">{cells}</tr>')
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _agents(trainings: Trainings) -> str:
    """How the agents were trained: a row for each, and its hyperparameters."""
    if not trainings:
        return ""
    headers = ("agent", "algorithm", "seeds", "training cuts of each", "training time of each")
    rows, details = [], []
    for label, seeds in trainings.items():
        first, known = seeds[0], [training.seconds for training in seeds if training.seconds is not None]
        time = f"{number(sum(known) / len(known), ',.0f')} s" if known else "not known"
        cells = (label, first.algorithm, str(len(seeds)), f"{first.cuts:,}", time)
        rows.append("".join(f"<td>{html_text(cell)}</td>" for cell in cells))
        settings = {"env": first.env, "env_options": first.env_options, "hyperparameters": first.hyperparameters}
        listed = json.dumps({**settings, "seeds": [training.seed for training in seeds]}, indent=1)
        title = f"{html_text(label)}: hyperparameters"
        details.append(f"<details><summary>{title}</summary><pre>{html_lines(listed)}</pre></details>")
    head = "".join(f"<th>{header}</th>" for header in headers)
    table = f"<tr>{head}</tr>" + "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<h2>How the agents were trained</h2><div class="wide"><table>{table}</table></div>' + "".join(details)


def _problems(board: Leaderboard) -> str:
    """Incomplete and failed runs; equal errors of a policy are shown once, with their number."""
    parts = ["<h2>Incomplete and failed runs</h2>", _paragraphs(notes(board) or ["None."])]
    first: dict[tuple[str, str], Failure] = {}
    count: Counter[tuple[str, str]] = Counter()
    for failure in board.records.failures:
        kind = (failure.policy, failure.error)
        first.setdefault(kind, failure)
        count[kind] += 1
    for (policy, error), times in count.most_common():
        example = first[policy, error]
        place = f"first on {example.network}, budget {example.budget:g}, seed {example.seed}"
        summary = f"{html_text(policy)}: {html_text(error)} ({times} \N{MULTIPLICATION SIGN}, {html_text(place)})"
        parts.append(
            f"<details><summary>{summary}</summary><pre>{html_lines(example.traceback or error)}</pre></details>"
        )
    return "\n".join(parts)


def _method(board: Leaderboard, command: str) -> str:
    records = board.records
    networks = records.networks()
    seeds = sorted({r.seed for r in records.all})
    facts = {
        "Environment": _distinct(r.env for r in records.all),
        "Networks": [f"{name}: {len(nets)} networks" for name, nets in networks.items()],
        "Evaluation seeds": [", ".join(map(str, seeds))],
        "Budgets": [", ".join(f"{b:g}" for b in records.budgets)],
        "Statistics": [
            "Intervals of Student's t over networks and over the training seeds of agents; comparisons are paired over "
            "networks. Simulated coverage of nominal 95 %: at least 93 % from 6 networks on, unless scores are very "
            "skewed."
        ],
        "Versions": _distinct(", ".join(f"{k} {v}" for k, v in sorted(r.versions.items())) for r in records.all),
        "Hardware": _distinct(r.hardware for r in records.all),
        "Time spent": [f"{sum(r.wall_s for r in records.results):.0f} s in {len(records.results)} cuts"],
        "Configuration": _distinct(r.config_hash for r in records.all),
        "Command": [command] if command else [],
    }
    items = "".join(
        f"<dt>{name}</dt>" + "".join(f"<dd>{html_text(line)}</dd>" for line in lines)
        for name, lines in facts.items()
        if lines
    )
    return f"<h2>How this was measured</h2><dl>{items}</dl>"


def _distinct(words: Iterable[str]) -> list[str]:
    return [word for word in dict.fromkeys(words) if word]
