"""The table of a leaderboard: its cells as text, as CSV and as Markdown."""

from __future__ import annotations

import csv
import io
import math

from prune_env.benchmark.intervals import Interval
from prune_env.benchmark.leaderboard import Leaderboard
from prune_env.envs.costs import sparsity_name
from prune_env.markup import csv_text, markdown_table, markdown_text

PRIVILEGED_MARK = "\N{DAGGER}"


def table_rows(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """The table: its headers, and one row of cells for each policy, best first."""
    agent = board.best("agent")
    budgets = [f"{100 * budget:g}%" for budget in board.scores.budgets]
    costs = [f"{cost} removed" for cost in board.records.costs]
    headers = ["policy", "kind", "area [95 %]", "unclipped", *budgets, "hypervolume", "collapsed", "trial cuts"]
    headers += ["trial steps", *costs, "networks"]
    if agent:
        headers += ["agent's lead [95 %]", "agent better"]
    rows = []
    for s in board.standings:
        name = f"{s.policy} {PRIVILEGED_MARK}" if s.kind == "privileged" else s.policy
        row = [name if s.on_budget else f"{name} (off budget)", s.kind, interval_text(s.area)]
        row.append(number(s.unclipped_area, "z.3f"))
        row += [number(value, "z.2f") for value in s.retained.value]
        row += [number(s.hypervolume, ".3f"), number(s.collapsed, ".0%"), number(s.trial_cuts)]
        row.append(number(s.trial_steps, ".0f"))
        row += [number(float(s.sparsities[cost].mean()), ".0%") for cost in board.records.costs]
        row.append(f"{s.complete}" if s.complete == s.expected else f"{s.complete} of {s.expected}")
        if agent:
            row.append(interval_text(s.lead, "+.3f") if s.lead else "")
            row.append("" if s.agent_better is None else number(s.agent_better, ".0%"))
        rows.append(row)
    return headers, rows


def table_csv(board: Leaderboard) -> str:
    """One row for each policy with plain numbers; empty where there is none."""
    text = io.StringIO()
    budgets = [f"{budget:g}" for budget in board.scores.budgets]
    intervals = ["area", *(f"retained_{budget}" for budget in budgets), "agent_lead"]
    single = ["agent_better", "unclipped_area", "hypervolume", "collapsed", "trial_cuts", "trial_steps"]
    removed = [f"{sparsity_name(cost)}_{budget}" for cost in board.records.costs for budget in budgets]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            *("policy", "kind", "on_budget"),
            *(f"{name}{end}" for name in intervals for end in ("", "_low", "_high")),
            *map(csv_text, [*single, *removed]),
            *("networks_complete", "networks_expected"),
        ]
    )
    for s in board.standings:
        numbers = [*s.area, *(v[b] for b in range(len(budgets)) for v in s.retained)]
        numbers += s.lead or [math.nan] * 3
        numbers += [math.nan if s.agent_better is None else s.agent_better]
        numbers += [s.unclipped_area, s.hypervolume, s.collapsed, s.trial_cuts, s.trial_steps]
        numbers += [value for cost in board.records.costs for value in s.sparsities[cost]]
        cells = [f"{float(n):.6g}" if math.isfinite(n) else "" for n in numbers]
        writer.writerow([csv_text(s.policy), s.kind, s.on_budget, *cells, s.complete, s.expected])
    return text.getvalue()


def table_markdown(board: Leaderboard) -> str:
    """The table in Markdown."""
    headers, rows = table_rows(board)
    return markdown_table([*map(markdown_text, headers)], [[markdown_text(name), *cells] for name, *cells in rows])


def number(value: float, style: str = ".4g") -> str:
    """A number in a table cell; a dash if there is none."""
    return format(value, style) if math.isfinite(value) else "\N{EN DASH}"


def interval_text(interval: Interval, style: str = ".3f") -> str:
    """A value with its interval in brackets, as far as there is one."""
    value, low, high = (float(v) for v in interval)
    bounds = f" [{low:{style}}, {high:{style}}]" if math.isfinite(low) and math.isfinite(high) else ""
    return number(value, style) + bounds
