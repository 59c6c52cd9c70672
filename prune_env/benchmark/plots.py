"""The pictures of a competition: each function returns a matplotlib Figure, without global state or a display.

Agents are drawn thick in strong colours, plain heuristics thin, privileged policies dashed with hollow markers; the
colours stay apart for colour-blind readers (Okabe and Ito for the agents, Paul Tol's "muted" for the rest).

Letters: P policies, B budgets, N runs, K strata, G groups, E evaluations of a training, M episodes of an evaluation.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prune_env.benchmark.records import Records
from prune_env.benchmark.statistics import (
    Competition,
    Standing,
    bootstrap_interval,
    interquartile_mean,
    performance_profile,
)

AGENT_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
OTHER_COLOURS = ("#332288", "#44AA99", "#AA4499", "#117733", "#CC6677", "#88CCEE", "#999933", "#882255", "#DDCC77")
MARKERS = "osD^vPX<>p*h"
LOWEST_SHOWN = -0.5
"""Retained scores below this are drawn at the lower edge: a wreck's exact depth would flatten all other curves."""

Drawn = TypeVar("Drawn", Figure, Figure | None)

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "svg.hashsalt": "prune_env",  # the same numbers give the same file
}


def styled(draw: Callable[..., Drawn]) -> Callable[..., Drawn]:
    """Draw in the style of these pictures."""

    @wraps(draw)
    def wrapper(*args: Any, **kwargs: Any) -> Drawn:
        with matplotlib.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return wrapper


def save_figure(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write the figure as `stem`.png (150 dots per inch) and `stem`.svg; a reader never sees half a file."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        path = stem.with_name(f"{stem.name}.{kind}")
        partial = stem.with_name(f".{stem.name}.{os.getpid()}.{kind}")
        with matplotlib.rc_context(_STYLE):
            figure.savefig(partial, format=kind, dpi=150, metadata=metadata)
        partial.replace(path)
        written.append(path)
    return written[0], written[1]


@styled
def plot_retained(competition: Competition) -> Figure:
    """Retained score against sparsity: interquartile mean and 95 % band, one line per ranked policy."""
    drawn = [s for s in competition.standings if s.ranked]
    looks = _looks(competition.standings)
    budgets = np.asarray(competition.scores.budgets)
    figure = Figure(figsize=(8.5, max(4.6, 1.2 + 0.19 * len(drawn))), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color="#888888", linewidth=0.8)
    for s in reversed(drawn):  # the best is drawn last, on top
        look = looks[s.policy]
        value, low, high = (np.maximum(v, LOWEST_SHOWN) for v in s.retained)
        axes.plot(budgets, value, clip_on=False, **look)
        band = 0.22 if s.kind == "agent" else 0.10
        axes.fill_between(budgets, low, high, color=look["color"], alpha=band, linewidth=0, zorder=look["zorder"] - 1)
    span = budgets[-1] - budgets[0] or 0.1
    axes.set_xlim(budgets[0] - 0.03 * span, budgets[-1] + 0.02 * span)
    axes.set_ylim(LOWEST_SHOWN, 0.02 + max([1.0, *(float(s.retained.value.max()) for s in drawn)]))
    axes.set_xticks(budgets, [f"{100 * b:g}%" for b in budgets])
    axes.set_xlabel("sparsity [share of the network removed]")
    axes.set_ylabel("retained score R on test data [1 = dense]")
    line_height = 0.155 / (figure.get_size_inches()[1] - 1.0)  # of a label, as a share of the axes
    _label_ends(axes, float(budgets[-1]), drawn, looks, line_height)
    note = "Thick: learned agents. Thin: plain heuristics. Dashed: privileged policies."
    below = [(float(s.retained.value.min()), s.label) for s in drawn if s.retained.value.min() < LOWEST_SHOWN]
    if below:
        lowest, name = min(below)
        note += f"\nMeans below {LOWEST_SHOWN:g} are drawn at the lower edge (lowest: {name}, {lowest:.2f})."
    figure.supxlabel(note, fontsize=7.5, color="#555555")
    return figure


def _looks(standings: Sequence[Standing]) -> dict[str, dict[str, Any]]:
    """Line style of every policy, the same in all pictures."""
    looks: dict[str, dict[str, Any]] = {}
    agents = others = 0
    for s in standings:
        if s.kind == "agent":
            colour, marker = AGENT_COLOURS[agents % len(AGENT_COLOURS)], MARKERS[agents % len(MARKERS)]
            looks[s.policy] = {"color": colour, "marker": marker, "linewidth": 2.8, "markersize": 6, "zorder": 6}
            agents += 1
        else:
            colour, marker = OTHER_COLOURS[others % len(OTHER_COLOURS)], MARKERS[others % len(MARKERS)]
            looks[s.policy] = {"color": colour, "marker": marker, "linewidth": 1.2, "markersize": 4, "zorder": 4}
            if s.kind == "privileged":
                looks[s.policy] |= {"linestyle": (0, (4, 2)), "markerfacecolor": "white"}
            others += 1
    return looks


def _label_ends(
    axes: Axes, x: float, drawn: Sequence[Standing], looks: dict[str, dict[str, Any]], line_height: float
) -> None:
    """Write each line's name to the right of its end at x, moved apart where they would overlap."""
    (bottom, top), (left, right) = axes.get_ylim(), axes.get_xlim()
    ascending = sorted(drawn, key=lambda s: float(s.retained.value[-1]))
    ends = np.array([max(float(s.retained.value[-1]), bottom) for s in ascending])
    text_x = x + 0.075 * (right - left)
    placed = spread_apart(ends, line_height * (top - bottom), bottom, top)
    for s, end, y in zip(ascending, ends, placed, strict=True):
        colour = looks[s.policy]["color"]
        axes.plot([x, text_x], [end, y], color=colour, linewidth=0.6, alpha=0.7, clip_on=False)
        weight = "bold" if s.kind == "agent" else "normal"
        axes.text(text_x, y, f" {s.label}", color=_darker(colour), fontsize=8, fontweight=weight, va="center")


def _darker(colour: str) -> NDArray[np.float64]:
    """The colour for text: a line of a light hue is seen, a letter is not."""
    return 0.72 * np.asarray(to_rgb(colour))


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


@styled
def plot_areas(competition: Competition) -> Figure:
    """Area under the retained-score curve: interquartile mean and 95 % interval of every ranked policy, best on top."""
    drawn = [s for s in competition.standings if s.ranked]
    looks = _looks(competition.standings)
    figure = Figure(figsize=(6.5, 1.1 + 0.25 * len(drawn)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color="#888888", linewidth=0.8)
    for row, s in enumerate(drawn):
        colour = looks[s.policy]["color"]
        thick = 3.2 if s.kind == "agent" else 1.6
        low, high = max(float(s.area.low), LOWEST_SHOWN), max(float(s.area.high), LOWEST_SHOWN)
        axes.plot([low, high], [row, row], color=colour, linewidth=thick, alpha=0.6, solid_capstyle="butt")
        shown = max(float(s.area.value), LOWEST_SHOWN)
        inside = "white" if s.kind == "privileged" else colour
        marker = "o" if shown == s.area.value else "<"
        axes.plot(
            shown, row, marker, color=colour, markerfacecolor=inside, markersize=6.5 if thick > 2 else 5, zorder=5
        )
        text = f"{float(s.area.value):.3f}".replace("-", "\N{MINUS SIGN}")
        axes.text(1.01, row, text, transform=axes.get_yaxis_transform(), fontsize=8, va="center", color=_darker(colour))
    axes.set_yticks(range(len(drawn)), [s.label for s in drawn])
    for tick, s in zip(axes.get_yticklabels(), drawn, strict=True):
        tick.set_fontweight("bold" if s.kind == "agent" else "normal")
    axes.set_ylim(len(drawn) - 0.4, -0.6)
    axes.set_xlim(left=max(axes.get_xlim()[0], LOWEST_SHOWN - 0.02))
    axes.set_xlabel("area under the retained-score curve [1 = dense at every sparsity]")
    return figure


@styled
def plot_profile(competition: Competition, seed: int = 0) -> Figure:
    """Performance profile: share of runs whose area exceeds a threshold, with a 95 % band for the agents."""
    drawn = [s for s in competition.standings if s.ranked]
    looks = _looks(competition.standings)
    areas = [competition.area_of(s.policy) for s in drawn]
    low, high = np.nanmin(areas), np.nanmax(areas)
    margin = 0.04 * (high - low) + 1e-6
    thresholds = np.linspace(max(low - margin, LOWEST_SHOWN), high + margin, 121)
    figure = Figure(figsize=(8.5, max(4.2, 1.0 + 0.17 * len(drawn))), layout="constrained")
    axes = figure.add_subplot()
    for s, area in reversed(list(zip(drawn, areas, strict=True))):
        shares, look = performance_profile(area, thresholds), looks[s.policy]
        falling = np.flatnonzero((shares > 0.05) & (shares < 0.95))  # markers where the lines can be told apart
        axes.plot(thresholds, shares, label=s.label, markevery=falling[::4].tolist(), **look)
        if s.kind == "agent":
            band = bootstrap_interval(
                area,
                lambda runs: performance_profile(runs, thresholds),
                np.random.default_rng(seed),
                resamples=500,
                seeds_per_network=competition.scores.seeds_per_network,
            )
            axes.fill_between(thresholds, band.low, band.high, color=look["color"], alpha=0.2, linewidth=0)
    axes.set_xlim(thresholds[0], thresholds[-1])
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("threshold \N{GREEK SMALL LETTER TAU} [area under the retained-score curve]")
    axes.set_ylabel("share of runs above \N{GREEK SMALL LETTER TAU}")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    return figure


@styled
def plot_ratios(competition: Competition) -> Figure:
    """Share of each group's channels that every policy removed, mean over networks [%]: one heat map per budget."""
    policies = [s for s in competition.standings if s.complete]
    groups, ratios = mean_ratios(competition.records, [s.policy for s in policies])
    budgets = competition.scores.budgets
    columns = max(1, min(len(budgets), 26 // max(len(groups), 1)))
    rows = math.ceil(len(budgets) / columns)
    width = 0.40 * len(groups)
    size = (1.9 + columns * (width + 0.15), 0.5 + rows * (0.95 + 0.22 * len(policies)))
    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for panel in panels[len(budgets) :]:
        panel.remove()
    panels = panels[: len(budgets)]
    for axes, budget, values in zip(panels, budgets, ratios, strict=True):
        image = axes.imshow(100 * values, cmap="cividis", vmin=0, vmax=100, aspect="auto")
        axes.grid(False)
        axes.set_title(f"sparsity {100 * budget:g}%")
        axes.set_xticks(range(len(groups)), groups, rotation=90, fontsize=7.5)
        axes.set_yticks(range(len(policies)), [s.label for s in policies], fontsize=8)
        axes.tick_params(length=0)
        for (p, g), value in np.ndenumerate(values):
            if not np.isnan(value):
                colour = "black" if value > 0.55 else "white"
                cell = axes.text(g, p, f"{100 * value:.0f}", ha="center", va="center", fontsize=6.5, color=colour)
                cell.set_in_layout(False)  # hundreds of cells would take seconds to lay out
    figure.colorbar(image, ax=panels, label="channels removed [%]", shrink=0.8, pad=0.01, aspect=40)
    return figure


def mean_ratios(records: Records, policies: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Mean over networks of the share of each group's channels that was removed.

    Returns:
        The G group names in order of appearance, and the shares [B, P, G], NaN where there are none.
    """
    groups = tuple(dict.fromkeys(g for r in records.results for g in r.ratios))
    b_of, p_of, g_of = ({name: i for i, name in enumerate(names)} for names in (records.budgets, policies, groups))
    total, count = (np.zeros((len(b_of), len(p_of), len(g_of))) for _ in range(2))
    for r in records.results:
        if r.policy in p_of:
            for group, ratio in r.ratios.items():
                cell = b_of[r.budget], p_of[r.policy], g_of[group]
                total[cell] += ratio
                count[cell] += 1
    return groups, np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


@styled
def plot_learning_curve(path: str | Path, seed: int = 0) -> Figure:
    """How an agent learned, from the `evaluations.npz` that Stable-Baselines3's EvalCallback writes.

    Args:
        path: The file: timesteps [E], results [E, M] and ep_lengths [E, M].
        seed: For the bootstrap over the M episodes of each evaluation.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            timesteps, results, lengths = (file[name] for name in ("timesteps", "results", "ep_lengths"))
    except (KeyError, ValueError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path} is not an evaluations.npz of EvalCallback: {error}") from error
    if not len(timesteps):
        raise ValueError(f"{path} holds no evaluation")
    episodes = timesteps / np.median(lengths)  # steps per episode: the rounds
    bounds = [
        bootstrap_interval(row[:, None], interquartile_mean, np.random.default_rng(seed), resamples=1000)
        for row in results.astype(float)
    ]
    value, low, high = np.transpose(bounds)
    figure = Figure(figsize=(6.5, 3.8), layout="constrained")
    axes = figure.add_subplot()
    colour = AGENT_COLOURS[0]
    axes.plot(episodes, value, color=colour, linewidth=2.2, marker="o", markersize=4)
    axes.fill_between(episodes, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("training episodes (networks cut)")
    axes.set_ylabel(f"evaluation return\n(interquartile mean of {results.shape[1]} episodes, 95 % band)")
    return figure
