"""The report of a pruned network as one HTML page: the network before and after, and what was tried; no scripts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from prune_env.api.report import GroupReport, Report, Trial
from prune_env.benchmark.html import CSS
from prune_env.benchmark.plot_style import AGENT_COLOURS, OTHER_COLOURS
from prune_env.markup import html_text
from prune_env.storage import expanded, write_atomically

PAGE = "index.html"

_MORE_CSS = """
.groups { display: grid; grid-template-columns: minmax(6rem, 14rem) 1fr minmax(8rem, max-content); gap: .35rem .8rem;
  align-items: center; font-size: .9rem; }
.bar { height: .9rem; background: #c9d3dc; border-radius: 3px; overflow: hidden; }
.bar div { height: 100%; background: #0072B2; } .bar.locked div { background: #8a949d; }
.count { font-variant-numeric: tabular-nums; } .why { color: var(--soft); font-size: .8rem; grid-column: 1 / -1; }
@media (max-width: 700px) { .groups { grid-template-columns: 1fr max-content; } .groups .name { grid-column: 1 / -1; } }
svg { max-width: 44rem; width: 100%; height: auto; } svg text { fill: currentColor; font: 14px system-ui, sans-serif; }
.legend span { display: inline-block; margin-right: 1rem; } .legend i { display: inline-block; width: .7rem;
  height: .7rem; border-radius: 50%; margin-right: .3rem; }
.facts td { white-space: normal; overflow-wrap: anywhere; text-align: left; }
.facts td:first-child { min-width: 6rem; }
"""


def write_page(report: Report, folder: str | Path) -> Path:
    """Write the page into a folder, and return its path.

    Raises:
        OSError: If it cannot be written.
    """
    path = expanded(folder) / PAGE
    write_atomically(path, page(report).encode())
    return path


def page(report: Report) -> str:
    """The page as HTML."""
    title = html_text(f"{report.name}, pruned")
    parts = [
        f"<h1>{title}</h1>",
        f'<div class="lead"><p>{html_text(report.headline())}.</p></div>',
        *(f"<p>{html_text(note)}.</p>" for note in report.notes),
        _facts(report),
        "<h2>What is left</h2>",
        '<p class="note">Every bar is a group of channels that go together: blue is what stays, gray what went.</p>',
        *map(_component, _by_component(report.groups)),
        "<h2>What was tried</h2>",
        _curve(report),
        _trials(report),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{CSS}{_MORE_CSS}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _facts(report: Report) -> str:
    rows = "".join(f"<tr><td>{html_text(k)}</td><td>{html_text(v)}</td></tr>" for k, v in report.facts().items())
    return f'<table class="facts">{rows}</table>'


# ---------------------------------------------------------------------- the network
def _by_component(groups: Iterable[GroupReport]) -> list[tuple[str, list[GroupReport]]]:
    found: dict[str, list[GroupReport]] = {}
    for group in groups:
        found.setdefault(" + ".join(group.components) or "outside all components", []).append(group)
    return list(found.items())


def _component(part: tuple[str, list[GroupReport]]) -> str:
    name, groups = part
    rows = "".join(map(_row, groups))
    return f'<h3>{html_text(name)}</h3><div class="groups">{rows}</div>'


def _row(group: GroupReport) -> str:
    locked = " locked" if group.reason else ""
    why = f'<div class="why">locked: {html_text(group.reason)}</div>' if group.reason else ""
    name = html_text(group.name)
    return (
        f'<div class="name">{name}</div>'
        f'<div class="bar{locked}" role="img" aria-label="{group.kept:.0%} of {name} is left">'
        f'<div style="width:{100 * group.kept:.1f}%"></div></div>'
        f'<div class="count">{group.before} \N{RIGHTWARDS ARROW} {group.after} ({group.kept:.0%})</div>{why}'
    )


# ---------------------------------------------------------------------- what was tried
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _EDGE = 640, 340, 52, 46, 12


def _curve(report: Report) -> str:
    """Retained score against sparsity, a dot for each trial, as SVG."""
    if not report.trials:
        return ""
    low = min(0.0, *(math.floor(10 * t.retained) / 10 for t in report.trials))
    high = max(1.0, *(math.ceil(10 * t.retained) / 10 for t in report.trials))
    colours = dict(
        zip(dict.fromkeys(t.policy for t in report.trials), (*AGENT_COLOURS, *OTHER_COLOURS) * 9, strict=False)
    )

    def x(sparsity: float) -> float:
        return _LEFT + sparsity * (_WIDTH - _LEFT - _EDGE)

    def y(retained: float) -> float:
        return _EDGE + (high - retained) / (high - low) * (_HEIGHT - _BOTTOM - _EDGE)

    lines = [_line(x(0), y(r), x(1), y(r), "0.25") for r in _ticks(low, high)]
    texts = [_text(_LEFT - 8, y(r) + 5, f"{r:g}", "end") for r in _ticks(low, high)]
    texts += [_text(x(s / 4), _HEIGHT - _BOTTOM + 20, f"{s / 4:.0%}", "middle") for s in range(5)]
    texts.append(_text(x(0.5), _HEIGHT - 6, f"share of the {report.unit} removed", "middle"))
    texts.append(_text(_LEFT + 6, _EDGE + 14, "R", "start"))
    if report.keep is not None:
        lines.append(_line(x(0), y(report.keep), x(1), y(report.keep), "0.9", "6 4"))
    dots = [_dot(x(t.sparsity), y(t.retained), colours[t.policy], t) for t in report.trials]
    legend = "".join(f'<span><i style="background:{c}"></i>{html_text(p)}</span>' for p, c in colours.items())
    caption = (
        "Every dot is a network that was cut, fine-tuned and scored on validation data; hollow ones lost too much."
    )
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Retained score against sparsity">'
        + "".join([*lines, *texts, *dots])
        + f'</svg><p class="legend">{legend}</p><figcaption>{caption}</figcaption></figure>'
    )


def _ticks(low: float, high: float) -> list[float]:
    step = 0.25 if high - low <= 1.5 else 0.5
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _line(x1: float, y1: float, x2: float, y2: float, opacity: str, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {place} stroke="currentColor" stroke-opacity="{opacity}"{dashed}/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html_text(text)}</text>'


def _dot(x: float, y: float, colour: str, trial: Trial) -> str:
    fill = colour if trial.kept else "none"
    words = html_text(f"{trial.policy}: {trial.sparsity:.1%}, R {trial.retained:.3f}")
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{fill}" stroke="{colour}"><title>{words}</title></circle>'


def _trials(report: Report) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("policy", "budget", "removed", "R", "its own trials", "seconds"))
    rows = "".join(
        f"<tr><td>{html_text(t.policy)}</td><td>{t.budget:.1%}</td><td>{t.sparsity:.1%}</td><td>{t.retained:.3f}</td>"
        f"<td>{t.trial_cuts}</td><td>{t.seconds:.1f}</td></tr>"
        for t in report.trials
    )
    return (
        f'<details><summary>All trials</summary><div class="wide"><table><tr>{head}</tr>{rows}</table></div></details>'
    )
