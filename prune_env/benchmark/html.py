"""The report of a competition as one HTML page that needs no other file."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from prune_env.benchmark.headline import headline, notes, table_rows
from prune_env.benchmark.records import Failure
from prune_env.benchmark.statistics import RESAMPLES, Competition

_CSS = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #5b6670; --line: #dfe3e7; --paper: #fff; --mark: #fdf1e7; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ea; --soft: #9aa5af; --line: #363d44; --paper: #16191c; --mark: #33261b; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
.lead { font-size: 1.15rem; } .lead p:first-child { font-weight: 600; } .note, figcaption { color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
tr.agent td { background: var(--mark); font-weight: 600; } tr.privileged td:first-child { font-style: italic; }
tr.unranked td { color: var(--soft); } figure { margin: 2rem 0; }
figure img { max-width: 100%; background: #fff; border-radius: 6px; padding: .5rem; box-sizing: border-box; }
pre { overflow-x: auto; padding: .6rem; border: 1px solid var(--line); border-radius: 6px; font-size: .8rem; }
dt { font-weight: 600; } dd { margin: 0 0 .5rem 1.5rem; }
"""


def page(competition: Competition, figures: Sequence[tuple[str, Path]], command: str) -> str:
    """The page; figures are (caption, PNG), the command may be empty."""
    parts = [
        "<h1>Pruning competition</h1>",
        f'<div class="lead">{_paragraphs(headline(competition))}</div>',
        _html_table(competition),
        _paragraphs(_READING, "note"),
    ]
    for caption, png in figures:
        data = base64.b64encode(png.read_bytes()).decode()
        image = f'<img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        parts.append(f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>")
    parts += [_html_problems(competition), _html_method(competition, command)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Pruning competition</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_CSS}</style></head>\n<body>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


_READING = [
    "Area: area under the curve of retained score over the sparsities, divided by their range; interquartile mean over "
    "runs [95 % stratified bootstrap interval]. Percentages: interquartile mean of the retained score at that "
    "sparsity. Hypervolume: area that a curve dominates from (sparsity 0, retained score 0). Evaluations: pruned "
    "networks scored before answering, for each network and sparsity. P(agent better): probability that a run of the "
    "best agent has a larger area than one of this policy, ties as one half [95 % interval].",
    "Plain heuristics and agents see the observation only; privileged policies see the network or score trial cuts. "
    "The best of several policies is chosen on these very runs, which flatters the best heuristic and the best agent.",
]


def _paragraphs(sentences: Iterable[str], css_class: str = "") -> str:
    return "".join(f'<p class="{css_class}">{escape(sentence)}</p>' for sentence in sentences)


def _html_table(competition: Competition) -> str:
    headers, rows = table_rows(competition)
    lines = ["<tr>" + "".join(f"<th>{escape(h)}</th>" for h in headers) + "</tr>"]
    for s, row in zip(competition.standings, rows, strict=True):
        css_class = s.kind if s.ranked else "unranked"
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row)
        lines.append(f'<tr class="{css_class}" title="{escape(s.policy)}">{cells}</tr>')
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _html_problems(competition: Competition) -> str:
    """Incomplete and failed runs; equal errors of a policy are shown once, with their number."""
    parts = ["<h2>Incomplete and failed runs</h2>", _paragraphs(notes(competition) or ["None."])]
    first: dict[tuple[str, str], Failure] = {}
    count: Counter[tuple[str, str]] = Counter()
    for failure in competition.records.failures:
        kind = (failure.policy, failure.error)
        first.setdefault(kind, failure)
        count[kind] += 1
    for (policy, error), number in count.most_common():
        example = first[policy, error]
        place = f"first on {example.network}, budget {example.budget:g}, seed {example.seed}"
        summary = f"{escape(policy)}: {escape(error)} ({number} \N{MULTIPLICATION SIGN}, {escape(place)})"
        parts.append(f"<details><summary>{summary}</summary><pre>{escape(example.traceback or error)}</pre></details>")
    return "\n".join(parts)


def _html_method(competition: Competition, command: str) -> str:
    records = competition.records
    networks = records.networks()
    seeds = sorted({r.seed for r in records.all})
    facts = {
        "Environment": _distinct(r.env for r in records.all),
        "Networks": [f"{name}: {len(nets)} networks" for name, nets in networks.items()],
        "Evaluation seeds": [", ".join(map(str, seeds))],
        "Budgets": [", ".join(f"{b:g}" for b in records.budgets)],
        "Statistics": [
            f"A run is one network under one seed. Percentile intervals of {RESAMPLES} stratified bootstrap resamples "
            "of networks; comparisons resample the networks jointly for both policies."
        ],
        "Versions": _distinct(", ".join(f"{k} {v}" for k, v in sorted(r.versions.items())) for r in records.all),
        "Hardware": _distinct(r.hardware for r in records.all),
        "Time spent": [f"{sum(r.wall_s for r in records.results):.0f} s in {len(records.results)} cuts"],
        "Configuration": _distinct(r.config_hash for r in records.all),
        "Command": [command] if command else [],
    }
    items = "".join(
        f"<dt>{name}</dt>" + "".join(f"<dd>{escape(line)}</dd>" for line in lines)
        for name, lines in facts.items()
        if lines
    )
    return f"<h2>How this was measured</h2><dl>{items}</dl>"


def _distinct(words: Iterable[str]) -> list[str]:
    return [word for word in dict.fromkeys(words) if word]
