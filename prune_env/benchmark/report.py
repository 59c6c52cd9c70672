"""A report of a benchmark run from its files alone: who won, by how much, and how it was measured.

`write_report` leaves `index.html` (one page that needs nothing else), `table.csv`, `table.md` and the folder `plots/`;
`print_report` shows the same table in a terminal. The same records give the same page.
"""

from __future__ import annotations

import base64
import csv
import io
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from html import escape
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.measure import Measurement
from rich.progress import track
from rich.table import Table
from rich.text import Text

from prune_env.benchmark import plots
from prune_env.benchmark.records import Failure, Records
from prune_env.benchmark.statistics import (
    RESAMPLES,
    SPARSITY_TOLERANCE,
    Competition,
    Interval,
    Standing,
    interquartile_mean,
    summarise,
)

Picture = tuple[str, str, Callable[[], Figure]]
"""File name, caption, and what draws it."""

_SPARED = ("hypervolume", "evaluations", "P(agent better)", "runs", "collapsed")
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
    _write(run_dir / "table.csv", _csv(competition))
    _write(run_dir / "table.md", _markdown(competition))
    command = run_dir / "command.txt"
    words = command.read_text(encoding="utf-8").strip() if command.exists() else ""
    _write(run_dir / "index.html", _html(competition, figures, words))
    return run_dir / "index.html"


def print_report(run_dir: str | Path, console: Console | None = None) -> None:
    """Print the headline and the table of a run; a narrow terminal gets fewer columns."""
    _print(summarise(Records.read(run_dir)), console or Console())


def table_text(records: Records, width: int = 160) -> str:
    """The headline and the table as plain text, at most `width` characters wide."""
    text = io.StringIO()
    _print(summarise(records), Console(file=text, width=width, force_terminal=False))
    return text.getvalue()


def headline(competition: Competition) -> list[str]:
    """Sentences that say who won and by how much, and where a baseline wins; made by rule from the numbers."""
    agent, plain, privileged = (competition.best(kind) for kind in ("agent", "plain", "privileged"))
    if agent is None:
        found = [f"{s.label} ({s.kind}) with {_interval(s.area)}" for s in (plain, privileged) if s]
        if not found:
            return ["No policy that prunes to its budgets has completed a run: there is nothing to compare."]
        return [f"No learned agent is ranked. Largest area under the retained-score curve: {'; '.join(found)}."]
    area = f"{agent.label} has an area under the retained-score curve of {_interval(agent.area)}"
    if plain is None or competition.advantage is None or competition.lead is None:
        return [f"{area}; no plain heuristic is ranked.", *_baselines_ahead(competition, agent)]
    return [
        f"{area}, {_comparison(competition.advantage, competition.lead)} the best plain heuristic, "
        f"{plain.label} ({_interval(plain.area)}): {_verdict(competition.lead)}.",
        *_baselines_ahead(competition, agent),
    ]


def _comparison(advantage: Interval, lead: Interval) -> str:
    # A ratio to something that is not positive, or may not be, says nothing; then the difference does.
    if math.isfinite(advantage.low) or (math.isfinite(advantage.value) and not math.isfinite(lead.low)):
        return f"{_interval(advantage, '.2f')} times that of"
    return f"a difference of {_interval(lead, '+.3f')} from"


def _verdict(lead: Interval) -> str:
    if not math.isfinite(lead.low):
        return "too few networks for an interval"
    if lead.low > 0:
        return "the agent wins"
    return "the heuristic wins" if lead.high < 0 else "a draw within the interval"


def _baselines_ahead(competition: Competition, agent: Standing) -> list[str]:
    """Whether a privileged policy is above the best agent, and at which budgets and strata which baseline is."""
    others = [s for s in competition.standings if s.kind != "agent" and s.ranked]
    sentences = []
    privileged = competition.best("privileged")
    if privileged is not None and privileged.area.value > agent.area.value:
        cost = f", with {_number(privileged.evaluations)} evaluations per cut" if privileged.evaluations else ""
        sentences.append(f"The privileged {privileged.label} has more: {_interval(privileged.area)}{cost}.")
    places: list[tuple[str, Callable[[Standing], float]]] = [
        (f"sparsity {100 * budget:g}%", partial(_retained_at, b=b))
        for b, budget in enumerate(competition.scores.budgets)
    ]
    if len(competition.scores.strata) > 1:
        places += [(name, partial(_area_in, competition, k=k)) for k, name in enumerate(competition.scores.strata)]
    ahead: dict[str, list[str]] = {}
    for place, value in places:
        better = [s for s in others if value(s) > value(agent)]
        if better:
            best = max(better, key=value)
            who = f"{best.label} ({best.kind})"
            ahead.setdefault(who, []).append(f"{place} ({value(best):.3f} against {value(agent):.3f})")
    sentences += [f"{who} is ahead of it at {', '.join(found)}." for who, found in ahead.items()]
    if others and not ahead:
        sentences.append("No baseline is ahead at any single sparsity or kind of network.")
    return sentences


def _retained_at(standing: Standing, b: int) -> float:
    return float(standing.retained.value[b])


def _area_in(competition: Competition, standing: Standing, k: int) -> float:
    return float(interquartile_mean(competition.area_of(standing.policy)[:, k : k + 1]))


def table_rows(competition: Competition) -> tuple[list[str], list[list[str]]]:
    """The table: its headers, and one row of cells for each policy, best first."""
    agent = competition.best("agent")
    budgets = [f"{100 * budget:g}%" for budget in competition.scores.budgets]
    headers = ["policy", "kind", "area [95 %]", *budgets, "hypervolume", "collapsed", "evaluations", "runs"]
    if agent:
        headers.append("P(agent better)")
    rows = []
    for s in competition.standings:
        row = [s.label if s.on_budget else f"{s.label} (off budget)", s.kind, _interval(s.area)]
        row += [_number(value, "z.2f") for value in s.retained.value]
        row += [_number(s.hypervolume, ".3f"), _number(s.collapsed, ".0%"), _number(s.evaluations)]
        row.append(f"{s.complete}" if s.complete == s.expected else f"{s.complete} of {s.expected}")
        if agent:
            row.append(_interval(s.improvement, ".2f") if s.improvement else "")
        rows.append(row)
    return headers, rows


def _number(value: float, style: str = ".4g") -> str:
    return format(value, style) if math.isfinite(value) else "\N{EN DASH}"


def _interval(interval: Interval, style: str = ".3f") -> str:
    value, low, high = (float(v) for v in interval)
    bounds = f" [{low:{style}}, {high:{style}}]" if math.isfinite(low) and math.isfinite(high) else ""
    return _number(value, style) + bounds


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
    for note in _notes(competition):
        console.print(Text(note))


def _rich_table(competition: Competition, headers: list[str], rows: list[list[str]], without: Sequence[str]) -> Table:
    table = Table()
    columns = [c for c, name in enumerate(headers) if name not in without]
    for c in columns:
        table.add_column(Text(headers[c]), justify="left" if c < 2 else "right", no_wrap=c > 0, overflow="fold")
    for s, row in zip(competition.standings, rows, strict=True):
        style = {"agent": "bold green", "plain": "", "privileged": "cyan"}[s.kind] if s.ranked else "dim"
        table.add_row(*(Text(row[c]) for c in columns), style=style)
    return table


def _notes(competition: Competition) -> list[str]:
    """What a reader must know beside the table: what is incomplete, failed, off budget or left out."""
    notes = [
        f"{s.label}: {s.expected - s.complete} of {s.expected} runs are incomplete and left out."
        for s in competition.standings
        if s.complete < s.expected
    ]
    if competition.records.failures:
        notes.append(f"Failed cuts: {len(competition.records.failures)}; a resumed run tries them again.")
    off = [s.label for s in competition.standings if not s.on_budget]
    if off:
        notes.append(
            f"Not ranked, since they stay more than {SPARSITY_TOLERANCE:.0%} below a budget: {', '.join(off)}."
        )
    if competition.left_out:
        notes.append(f"Records of other configurations in the same file, left out: {competition.left_out}.")
    return notes


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
    return "\n\n".join([" ".join(headline(competition)), table, *_notes(competition)]) + "\n"


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


def _html(competition: Competition, figures: Sequence[tuple[str, Path]], command: str) -> str:
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
    parts = ["<h2>Incomplete and failed runs</h2>", _paragraphs(_notes(competition) or ["None."])]
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


def _write(path: Path, text: str) -> None:
    """Write the whole file or nothing."""
    partial_path = path.with_name(f".{path.name}.{os.getpid()}")
    partial_path.write_text(text, encoding="utf-8", newline="")
    partial_path.replace(path)
