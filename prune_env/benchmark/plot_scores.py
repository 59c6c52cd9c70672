"""Pictures of a leaderboard's scores; each function returns a matplotlib Figure, without global state or a display.

Every picture has a narrow form for small screens, with a legend below instead of names beside the lines.

Letters: P policies, B budgets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prune_env.benchmark.intervals import mean_interval
from prune_env.benchmark.leaderboard import Leaderboard, Standing
from prune_env.benchmark.plot_style import AGENT_COLOURS, MARKERS, NARROW_WIDTH, OTHER_COLOURS, darker, styled
from prune_env.benchmark.statistics import performance_profile
from prune_env.markup import plot_text

LineStyles = dict[str, dict[str, Any]]
_LINE = 0.165  # height of a line of small text [inches]


@styled
def plot_retained(board: Leaderboard, narrow: bool = False) -> Figure:
    """Retained score against sparsity: mean and 95 % band, one line for each ranked policy."""
    drawn, styles = [s for s in board.standings if s.ranked], policy_styles(board.standings)
    budgets = np.asarray(board.scores.budgets)
    figure = _figure(drawn, narrow, width=8.5, height=max(4.6, 1.2 + 0.19 * len(drawn)))
    axes = figure.add_subplot()
    axes.axhline(0, color="#888888", linewidth=0.8)
    for s in reversed(drawn):  # the best is drawn last, on top
        style = styles[s.policy]
        value, low, high = s.retained
        axes.plot(budgets, value, clip_on=False, label=plot_text(s.policy), **style)
        band = 0.22 if s.kind == "agent" else 0.10
        axes.fill_between(budgets, low, high, color=style["color"], alpha=band, linewidth=0, zorder=style["zorder"] - 1)
    span = budgets[-1] - budgets[0] or 0.1
    axes.set_xlim(budgets[0] - 0.03 * span, budgets[-1] + 0.02 * span)
    numbers = np.concatenate([np.ravel(part) for s in drawn for part in s.retained])
    axes.set_ylim(min(0.0, np.nanmin(numbers)) - 0.04, max(1.0, np.nanmax(numbers)) + 0.02)
    axes.set_xticks(budgets, [f"{100 * b:g}%" for b in budgets])
    axes.set_xlabel("sparsity [share of the network removed]")
    axes.set_ylabel("retained score R on test data [1 = dense]")
    if narrow:
        legend_below(figure, axes)
    else:
        line_height = 0.155 / (figure.get_size_inches()[1] - 1.0)  # of a label, as a share of the axes
        _label_ends(axes, float(budgets[-1]), drawn, styles, line_height)
        note = "Thick: learned agents. Thin: plain heuristics. Dashed: privileged policies."
        figure.supxlabel(note, fontsize=7.5, color="#555555")
    return figure


@styled
def plot_areas(board: Leaderboard, narrow: bool = False) -> Figure:
    """Area under the curve of max(R, 0): mean and 95 % interval of every ranked policy, best on top."""
    drawn, styles = [s for s in board.standings if s.ranked], policy_styles(board.standings)
    width = NARROW_WIDTH if narrow else 6.5
    figure = Figure(figsize=(width, 1.1 + 0.25 * len(drawn)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color="#888888", linewidth=0.8)
    for row, s in enumerate(drawn):
        colour = styles[s.policy]["color"]
        thick = 3.2 if s.kind == "agent" else 1.6
        value, low, high = (float(number) for number in s.area)
        axes.plot([low, high], [row, row], color=colour, linewidth=thick, alpha=0.6, solid_capstyle="butt")
        inside = "white" if s.kind == "privileged" else colour
        size = 6.5 if thick > 2 else 5
        axes.plot(value, row, "o", color=colour, markerfacecolor=inside, markersize=size, zorder=5)
        text = f"{value:.3f}".replace("-", "\N{MINUS SIGN}")
        axes.text(1.01, row, text, transform=axes.get_yaxis_transform(), fontsize=8, va="center", color=darker(colour))
    axes.set_yticks(range(len(drawn)), [plot_text(s.policy) for s in drawn])
    for tick, s in zip(axes.get_yticklabels(), drawn, strict=True):
        tick.set_fontweight("bold" if s.kind == "agent" else "normal")
    axes.set_ylim(len(drawn) - 0.4, -0.6)
    axes.set_xlabel("area under the curve [1 = dense]" if narrow else "area under the curve of max(R, 0) [1 = dense]")
    return figure


@styled
def plot_profile(board: Leaderboard, narrow: bool = False) -> Figure:
    """Performance profile: share of networks on which the area exceeds a threshold, with a 95 % band for the agents."""
    drawn, styles = [s for s in board.standings if s.ranked], policy_styles(board.standings)
    areas = [board.area_of(s.policy)[:, board.scores.complete(s.policy)] for s in drawn]
    low, high = min(area.min() for area in areas), max(area.max() for area in areas)
    margin = 0.04 * (high - low) + 1e-6
    thresholds = np.linspace(low - margin, high + margin, 161)
    figure = _figure(drawn, narrow, width=8.5, height=max(4.2, 1.0 + 0.17 * len(drawn)))
    axes = figure.add_subplot()
    for s, area in reversed(list(zip(drawn, areas, strict=True))):
        band, style = mean_interval(performance_profile(area, thresholds)), styles[s.policy]
        shares = band.value
        falling = np.flatnonzero((shares > 0.05) & (shares < 0.95))  # markers where the lines can be told apart
        axes.plot(thresholds, shares, label=plot_text(s.policy), markevery=falling[::4].tolist(), **style)
        if s.kind == "agent":
            axes.fill_between(thresholds, band.low, band.high, color=style["color"], alpha=0.2, linewidth=0)
    axes.set_xlim(thresholds[0], thresholds[-1])
    axes.set_ylim(0, 1.02)
    tau = "\N{GREEK SMALL LETTER TAU}"
    axes.set_xlabel(f"threshold {tau} [area]" if narrow else f"threshold {tau} [area under the curve of max(R, 0)]")
    axes.set_ylabel(f"share of networks above {tau}")
    if narrow:
        legend_below(figure, axes)
    else:
        handles, labels = axes.get_legend_handles_labels()
        place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
        axes.legend(handles[::-1], labels[::-1], frameon=False, fontsize=8, **place)
    return figure


def policy_styles(standings: Sequence[Standing]) -> LineStyles:
    """Line style of every policy, the same in all pictures."""
    styles: LineStyles = {}
    agents = others = 0
    for s in standings:
        if s.kind == "agent":
            colour, marker = AGENT_COLOURS[agents % len(AGENT_COLOURS)], MARKERS[agents % len(MARKERS)]
            styles[s.policy] = {"color": colour, "marker": marker, "linewidth": 2.8, "markersize": 6, "zorder": 6}
            agents += 1
        else:
            colour, marker = OTHER_COLOURS[others % len(OTHER_COLOURS)], MARKERS[others % len(MARKERS)]
            styles[s.policy] = {"color": colour, "marker": marker, "linewidth": 1.2, "markersize": 4, "zorder": 4}
            if s.kind == "privileged":
                styles[s.policy] |= {"linestyle": (0, (4, 2)), "markerfacecolor": "white"}
            others += 1
    return styles


def _figure(drawn: Sequence[Standing], narrow: bool, width: float, height: float) -> Figure:
    """An empty figure; a narrow one has room for a legend of two columns below."""
    if narrow:
        width, height = NARROW_WIDTH, 3.3 + _LINE * math.ceil(len(drawn) / 2)
    return Figure(figsize=(width, height), layout="constrained")


def legend_below(figure: Figure, axes: Axes) -> None:
    """A legend of one or two columns below the axes, the last drawn first."""
    handles, labels = axes.get_legend_handles_labels()
    columns = 1 if max(map(len, labels)) > 24 else 2
    if columns == 1:
        figure.set_figheight(3.3 + _LINE * len(labels))
    figure.legend(
        handles[::-1], labels[::-1], loc="outside lower center", ncols=columns, frameon=False, fontsize=7.5,
        labelspacing=0.25, columnspacing=1.0, handlelength=2.2,
    )  # fmt: skip


def _label_ends(axes: Axes, x: float, drawn: Sequence[Standing], styles: LineStyles, line_height: float) -> None:
    """Write each line's name to the right of its end at x, moved apart where they would overlap."""
    (bottom, top), (left, right) = axes.get_ylim(), axes.get_xlim()
    ascending = sorted(drawn, key=lambda s: float(s.retained.value[-1]))
    ends = np.array([float(s.retained.value[-1]) for s in ascending])
    text_x = x + 0.075 * (right - left)
    placed = spread_apart(ends, line_height * (top - bottom), bottom, top)
    for s, end, y in zip(ascending, ends, placed, strict=True):
        colour = styles[s.policy]["color"]
        axes.plot([x, text_x], [end, y], color=colour, linewidth=0.6, alpha=0.7, clip_on=False)
        weight = "bold" if s.kind == "agent" else "normal"
        axes.text(
            text_x, y, f" {plot_text(s.policy)}", color=darker(colour), fontsize=8, fontweight=weight, va="center"
        )


def spread_apart(positions: NDArray[np.float64], step: float, bottom: float, top: float) -> NDArray[np.float64]:
    """Move ascending positions by little, so that neighbours are `step` apart and, if they fit, within the limits."""
    placed = np.array(positions, dtype=float)
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + step)
    limit = top
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - step
    if len(placed) and placed[0] < bottom:
        placed += bottom - placed[0]
    return placed
