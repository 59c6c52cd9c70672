"""Sensitivity curves as files: a table as CSV and Markdown, and a plot.

Letters: N networks, G groups, P points of a curve.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from prune_env.baselines.sensitivity import Sensitivity
from prune_env.benchmark.plot_style import MARKERS, OTHER_COLOURS, save_figure, styled
from prune_env.markup import csv_text, markdown_table, markdown_text, plot_text
from prune_env.storage import expanded, write_atomically

_LARGEST_LEGEND = 24  # groups


def write_sensitivity(folder: str | Path, networks: Sequence[tuple[str, Sensitivity]]) -> list[Path]:
    """Write sensitivity.csv, sensitivity.md, sensitivity.png and sensitivity.svg, and return their paths.

    The CSV file has a row for each point of each network; the Markdown table and the plot show means over the networks,
    most sensitive group first.

    Args:
        folder: Where to write.
        networks: Label and curves of each network, [N]; all have the same groups and points.

    Raises:
        ValueError: If there is no network, or their groups or points differ.
    """
    if not networks or len({(curves.groups, curves.widths.shape) for _, curves in networks}) != 1:
        raise ValueError("sensitivity is written for one or more networks that share their groups and points")
    folder = expanded(folder)
    table, text = folder / "sensitivity.csv", folder / "sensitivity.md"
    write_atomically(table, _csv(networks).encode())
    write_atomically(text, _markdown([curves for _, curves in networks]).encode())
    return [table, text, *save_figure(plot_sensitivity([curves for _, curves in networks]), folder / "sensitivity")]


def _csv(networks: Sequence[tuple[str, Sensitivity]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["network", "group", "channels", "kept", "ratio", "retained", "lost"])
    for label, curves in networks:
        for g, group in enumerate(curves.groups):
            for kept, retained in zip(curves.widths[g].tolist(), curves.retained[g].tolist(), strict=True):
                present = int(curves.present[g])
                numbers = [1.0 - kept / present, retained, curves.untouched - retained]
                writer.writerow(
                    [csv_text(label), csv_text(group), present, kept, *(f"{number:.6g}" for number in numbers)]
                )
    return text.getvalue()


def _means(curves: Sequence[Sensitivity]) -> tuple[np.ndarray, np.ndarray]:
    """Ratios and what is lost at them, means over networks, [G, P] each."""
    return (
        np.mean([network.ratios for network in curves], axis=0),
        np.mean([network.untouched - network.retained for network in curves], axis=0),
    )


def _markdown(curves: Sequence[Sensitivity]) -> str:
    ratios, lost = _means(curves)
    order = np.argsort(-lost.mean(axis=1), kind="stable")
    header = ["group", "channels", *(f"-{100 * ratio:.0f} %" for ratio in ratios.mean(axis=0))]
    channels = np.mean([network.present for network in curves], axis=0)
    rows = [
        [markdown_text(curves[0].groups[g]), f"{channels[g]:g}", *(f"{value:.3f}" for value in lost[g])] for g in order
    ]
    count = f"{len(curves)} network{'s' if len(curves) > 1 else ''}"
    note = f"Retained score that is lost when a group alone is cut by that share of its channels, mean over {count}."
    return f"{note}\n\n{markdown_table(header, rows)}\n"


@styled
def plot_sensitivity(curves: Sequence[Sensitivity]) -> Figure:
    """What is lost against the share of channels removed, a line for each group, mean over networks.

    Args:
        curves: Of each network, [N]; all have the same groups and points.
    """
    ratios, lost = _means(curves)
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.add_subplot()
    order = np.argsort(-lost.mean(axis=1), kind="stable")
    for place, g in enumerate(order):
        axes.plot(
            np.r_[0.0, ratios[g]], np.r_[0.0, lost[g]], label=plot_text(curves[0].groups[g]), linewidth=1.4,
            color=OTHER_COLOURS[place % len(OTHER_COLOURS)], marker=MARKERS[place % len(MARKERS)], markersize=4,
        )  # fmt: skip
    axes.axhline(0.0, color="black", linewidth=0.6)
    axes.set_xlabel("share of the group's channels removed")
    axes.set_ylabel("retained score lost (validation)")
    if len(order) <= _LARGEST_LEGEND:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7, frameon=False)
    return figure
