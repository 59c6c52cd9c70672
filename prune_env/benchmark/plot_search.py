"""Anytime curves of searches: how good the best trial so far is, against trials.

Letters: P policies, N trials, R runs (network x seed x budget).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from prune_env.benchmark.leaderboard import Leaderboard
from prune_env.benchmark.plot_scores import legend_below, policy_styles
from prune_env.benchmark.plot_style import NARROW_WIDTH, styled
from prune_env.benchmark.result import Result
from prune_env.markup import plot_text


def best_so_far(results: Sequence[Result]) -> NDArray[np.float64]:
    """Mean over results [R] of max(best retained score so far, 0), after each trial, [N + 1]; 0 before a trial counts.

    A result whose trials are over keeps its last value.

    Args:
        results: Of one policy, at least one.
    """
    most = max((result.trial_cuts for result in results), default=0)
    curves = np.zeros((len(results), most + 1))
    for curve, result in zip(curves, results, strict=True):
        for number, retained in result.best_trials:
            curve[number:] = max(retained, 0.0)
    return curves.mean(axis=0)


@styled
def plot_best_so_far(board: Leaderboard, narrow: bool = False) -> Figure:
    """The anytime curve of every policy with trials, and as a line across, the best policy without."""
    styles = policy_styles(board.standings)
    results: dict[str, list[Result]] = {s.policy: [] for s in board.standings}
    for r in board.records.results:
        results[board.records.shown_as[r.policy]].append(r)
    figure = Figure(figsize=(NARROW_WIDTH, 4.2) if narrow else (8.5, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for s in reversed(board.standings):
        if not any(r.best_trials for r in results[s.policy]):
            continue
        curve = best_so_far(results[s.policy])
        style = styles[s.policy] | {"markevery": [len(curve) - 1]}
        axes.plot(np.arange(len(curve)), curve, drawstyle="steps-post", label=plot_text(s.policy), **style)
    if reference := board.best("agent", "plain"):
        retained = float(np.mean([max(r.retained, 0.0) for r in results[reference.policy]]))
        colour = styles[reference.policy]["color"]
        axes.axhline(retained, color=colour, linewidth=1.2, label=plot_text(f"{reference.policy}, no trials"))
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 8, integer=True))
    axes.set_xlabel("trial cuts")
    axes.set_ylabel("best retained score so far\n(validation, mean of max(R, 0))")
    if narrow:
        legend_below(figure, axes)
    else:
        handles, labels = axes.get_legend_handles_labels()
        place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
        axes.legend(handles[::-1], labels[::-1], frameon=False, fontsize=8, **place)
    return figure
