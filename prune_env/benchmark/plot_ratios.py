"""How policies share a cut out among the groups, as heat maps.

Letters: B budgets, P policies, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prune_env.benchmark.leaderboard import Leaderboard
from prune_env.benchmark.plot_style import NARROW_WIDTH, styled
from prune_env.benchmark.records import Records
from prune_env.markup import plot_text

_CELL, _NARROW_CELL = 0.40, 0.24  # width of a cell with two digits that can be read [inches]
_LETTER = 0.065  # width of a letter of a name [inches]
_DIGITS = 9.0  # their size [points]


@styled
def plot_ratios(board: Leaderboard, narrow: bool = False) -> Figure:
    """Share of each group's channels that every policy removed, mean over networks [%]: one heat map per budget."""
    policies = [s for s in board.standings if s.complete]
    groups, ratios = mean_ratios(board.records, [s.policy for s in policies])
    budgets = board.scores.budgets
    columns = 1 if narrow else max(1, min(len(budgets), 22 // max(len(groups), 1)))
    rows = math.ceil(len(budgets) / columns)
    names = [plot_text(s.policy) for s in policies]
    labels = [plot_text(group) for group in groups]
    cell, bar = (_NARROW_CELL, 0.0) if narrow else (_CELL, 0.5)  # a narrow picture has its colour bar below
    beside, below = (0.35 + _LETTER * max(map(len, words)) for words in (names, labels))
    width = beside + columns * (cell * len(groups) + 0.15) + bar
    size = (max(NARROW_WIDTH, width) if narrow else width, 0.5 + rows * (0.25 + below + 0.25 * len(policies)))
    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for panel in panels[len(budgets) :]:
        panel.remove()
    panels = panels[: len(budgets)]
    for axes, budget, values in zip(panels, budgets, ratios, strict=True):
        image = axes.imshow(100 * values, cmap="cividis", vmin=0, vmax=100, aspect="auto")
        axes.grid(False)
        axes.set_title(f"sparsity {100 * budget:g}%")
        axes.set_xticks(range(len(groups)), labels, rotation=90, fontsize=8)
        axes.set_yticks(range(len(policies)), names, fontsize=8)
        axes.tick_params(length=0)
        for (p, g), value in np.ndenumerate(values):
            if not np.isnan(value):
                colour = "black" if value > 0.55 else "white"
                shown = axes.text(g, p, f"{100 * value:.0f}", ha="center", va="center", fontsize=_DIGITS, color=colour)
                shown.set_in_layout(False)  # hundreds of cells would take seconds to lay out
    if narrow:
        figure.colorbar(image, ax=panels, label="channels removed [%]", location="bottom", pad=0.01, aspect=40)
    else:
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
        policy = records.shown_as[r.policy]
        if policy in p_of:
            for group, ratio in r.ratios.items():
                cell = b_of[r.budget], p_of[policy], g_of[group]
                total[cell] += ratio
                count[cell] += 1
    return groups, np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
