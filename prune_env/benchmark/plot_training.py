"""Learning curves of agents, from the evaluations during their training.

Letters: S seeds, E evaluations, M episodes of an evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from prune_env.benchmark.agent_training import AgentTraining
from prune_env.benchmark.intervals import mean_interval
from prune_env.benchmark.plot_style import AGENT_COLOURS, NARROW_WIDTH, styled
from prune_env.benchmark.statistics import FloatArray


@styled
def plot_learning_curve(seeds: Sequence[AgentTraining], narrow: bool = False) -> Figure:
    """Returns during training against training cuts, mean over the episodes of each evaluation.

    One seed has a 95 % band over episodes; of several, each is a thin line, and their mean is thick.

    Args:
        seeds: The trainings of one agent, each with at least one evaluation, [S].
        narrow: For a small screen.
    """
    figure = Figure(figsize=(NARROW_WIDTH, 3.0) if narrow else (6.5, 3.8), layout="constrained")
    axes = figure.add_subplot()
    colour, curves = AGENT_COLOURS[0], [_curve(training) for training in seeds]
    if len(seeds) == 1:
        ((cuts, bounds),) = curves
        axes.plot(cuts, bounds[:, 0], color=colour, linewidth=2.2, marker="o", markersize=4, clip_on=False)
        axes.fill_between(cuts, bounds[:, 1], bounds[:, 2], color=colour, alpha=0.2, linewidth=0)
        note = f"mean of {len(seeds[0].returns[0])} episodes, 95 % band"
    else:
        for cuts, bounds in curves:
            axes.plot(cuts, bounds[:, 0], color=colour, linewidth=0.9, alpha=0.5, clip_on=False)
        shared = [float(c) for c in curves[0][0] if all(c in cuts for cuts, _ in curves)]
        mean = [np.mean([bounds[list(cuts).index(c), 0] for cuts, bounds in curves]) for c in shared]
        axes.plot(shared, mean, color=colour, linewidth=2.6, marker="o", markersize=4, clip_on=False)
        note = f"thick: mean of {len(seeds)} seeds"
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 6))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("training cuts [rounds]")
    axes.set_ylabel(f"evaluation return\n({note})")
    return figure


def _curve(training: AgentTraining) -> tuple[FloatArray, FloatArray]:
    """Cuts [E], and mean with its bounds [E, 3]."""
    bounds = [mean_interval([returns]) for returns in training.returns]
    return np.array(training.evaluated_at, dtype=float), np.array(bounds, dtype=float)
