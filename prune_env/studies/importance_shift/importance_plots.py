"""Pictures of importance over epochs.

Letters: E epochs, G groups, N seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, MaxNLocator, NullFormatter

from prune_env.benchmark.plot_style import AGENT_COLOURS, OTHER_COLOURS
from prune_env.studies.core.study import Rows
from prune_env.studies.importance_shift.ranks import Array, crossovers, curves, early, networks
from prune_env.studies.importance_shift.trajectory import BAYES, COLUMNS, LABELS

LineStyles = dict[str, dict[str, Any]]
_DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
_GRAY = "#EEEEEE"
_COMPONENT_COLOURS = (*AGENT_COLOURS, "#56B4E9")


def draw_importance(rows: Rows, title: str) -> Figure:
    """A row of panels for each network, a column for each measure."""
    settings = list(dict.fromkeys(str(r["setting"]) for r in rows))
    figure = Figure(figsize=(12.5, 0.9 + 2.25 * len(settings)), layout="constrained")
    panels = figure.subplots(len(settings), len(COLUMNS), squeeze=False, sharex="row")
    styles: LineStyles = {}
    for line, setting in zip(panels, settings, strict=True):
        mine = [r for r in rows if r["setting"] == setting]
        styles |= group_styles(mine)
        for axes, measure in zip(line, COLUMNS, strict=True):
            _draw_curves(axes, mine, measure, styles)
        line[0].set_ylabel(f"{setting}\nimportance")
    for axes, measure in zip(panels[0], COLUMNS, strict=True):
        axes.set_title(_title(measure))
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
    _legend(figure, styles)
    figure.suptitle(title, fontsize=11)
    return figure


def draw_crossovers(rows: Rows, title: str) -> Figure:
    """Importance above and rank below, a column for each measure, with the crossovers of the mean marked."""
    styles = group_styles(rows)
    figure = Figure(figsize=(13.5, 7.5), layout="constrained")
    panels = figure.subplots(2, len(COLUMNS), sharex=True)
    for column, measure in zip(panels.T, COLUMNS, strict=True):
        groups, epochs, mean = _draw_curves(column[0], rows, measure, styles)
        ranks = (-mean).argsort(axis=1).argsort(axis=1) + 1
        for g, group in enumerate(groups):
            column[1].plot(epochs, ranks[:, g], **styles[group])
        start = early(len(mean))
        found = crossovers(mean)
        for at, i, j in found:
            column[0].plot(epochs[at], (mean[at, i] + mean[at, j]) / 2, **_RING)
            column[1].plot(epochs[at], (ranks[at, i] + ranks[at, j]) / 2, **_RING)
        for axes in column:
            axes.axvspan(0, epochs[start - 1] if start else 0, color=_GRAY, zorder=0, linewidth=0)
            axes.set_xlim(0, epochs[-1])
        column[0].set_title(f"{_title(measure)}\n{len(found)} crossover{'s' if len(found) != 1 else ''}")
        column[1].set_ylim(len(groups) + 0.5, 0.5)
        column[1].set_yticks(range(1, len(groups) + 1))
        column[1].set_xlabel("epoch")
    panels[0, 0].set_ylabel("importance")
    panels[1, 0].set_ylabel("rank [1 = most important]")
    _legend(figure, styles, [Line2D([], [], label="crossover", **_RING), Patch(color=_GRAY, label="first fifth")])
    figure.suptitle(title, fontsize=11)
    return figure


_RING: dict[str, Any] = {
    "marker": "o",
    "markersize": 5,
    "markerfacecolor": "none",
    "markeredgecolor": "black",
    "markeredgewidth": 0.8,
    "linestyle": "none",
    "zorder": 8,
}


def _draw_curves(axes: Axes, rows: Rows, measure: str, styles: LineStyles) -> tuple[list[str], list[int], Array]:
    """Lines of means and bands of ranges; returns group names, epochs and the mean of what is drawn [E, G].

    Gradient and Fisher are drawn as they are; Bayes, in which groups hardly differ, as the deviation from their mean.
    """
    found = [curves(network, measure) for network in networks(rows).values()]
    groups, epochs, _ = found[0]
    logs = np.log(np.maximum([values for _, _, values in found], 1e-30))  # [N, E, G]
    relative = measure in BAYES
    if relative:
        logs -= logs.mean(axis=2, keepdims=True)
    drawn = _shown(logs, measure)
    mean = _shown(logs.mean(axis=0), measure)
    for g, group in enumerate(groups):
        axes.plot(epochs, mean[:, g], **styles[group])
        low, high = drawn[:, :, g].min(axis=0), drawn[:, :, g].max(axis=0)
        axes.fill_between(epochs, low, high, color=styles[group]["color"], alpha=0.12, linewidth=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if not relative:
        axes.set_yscale("log")
        decades = np.ptp(np.log10(drawn))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.3 else (1, 3) if decades < 2.5 else (1,)))
        axes.yaxis.set_major_formatter(LogFormatterSciNotation(labelOnlyBase=False, minor_thresholds=(np.inf, np.inf)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    return groups, epochs, mean


def _shown(logs: Array, measure: str) -> Array:
    return np.asarray(100 * np.expm1(logs) if measure in BAYES else np.exp(logs))


def _title(measure: str) -> str:
    return LABELS[measure] + ("\n[% off the groups' mean]" if measure in BAYES else "")


def group_styles(rows: Rows) -> LineStyles:
    """Line style of every group.

    Coupling is thick and black. Else the colour is the component's and the dash the place in it; if there are only two
    components, the colour is the group's and the dash the component's.
    """
    described = {str(r["group"]): r for r in rows if r["kind"] == "group"}
    components = list(dict.fromkeys(name.partition(".")[0] for name in described))
    seen: dict[str, int] = {}
    styles: LineStyles = {}
    for i, (name, row) in enumerate(described.items()):
        component = name.partition(".")[0]
        place = seen.get(component, 0)
        if row["coupling"]:
            styles[name] = {"color": "black", "linewidth": 2.4, "linestyle": "-", "zorder": 6}
            continue
        seen[component] = place + 1
        index = components.index(component)
        if len(components) > 2:
            colour, dash = _COMPONENT_COLOURS[index % len(_COMPONENT_COLOURS)], _DASHES[place % len(_DASHES)]
        else:
            colour, dash = OTHER_COLOURS[i % len(OTHER_COLOURS)], _DASHES[index]
        styles[name] = {"color": colour, "linewidth": 1.4, "linestyle": dash, "zorder": 4}
    return styles


def _legend(figure: Figure, styles: LineStyles, marks: Sequence[Artist] = ()) -> None:
    handles = [
        Line2D([], [], label=f"{name} (coupling)" if style["color"] == "black" else name, **style)
        for name, style in sorted(styles.items(), key=lambda item: _order(item[0], styles))
    ]
    figure.legend(handles=[*handles, *marks], loc="outside right center", frameon=False, fontsize=8)


def _order(name: str, styles: LineStyles) -> tuple[int, str]:
    components = list(dict.fromkeys(n.partition(".")[0] for n in styles))
    return components.index(name.partition(".")[0]), name
