"""Learning curves of dense networks, from the evaluations during their training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from prune_env.benchmark.plot_style import AGENT_COLOURS, OTHER_COLOURS, styled
from prune_env.dense.loop import Evaluation
from prune_env.markup import plot_text

_COLOURS = (*AGENT_COLOURS, *OTHER_COLOURS)


@styled
def plot_dense_training(histories: Mapping[str, Sequence[Evaluation]], unit: str) -> Figure:
    """The metric that selects the best network, with a ring at the best one, and the task loss; both against steps.

    Args:
        histories: Evaluations of each network, by its label; at least one each.
        unit: Of the metric.
    """
    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    value, loss = figure.subplots(1, 2)
    for i, (label, evaluations) in enumerate(histories.items()):
        colour = _COLOURS[i % len(_COLOURS)]
        steps = [evaluation.step for evaluation in evaluations]
        value.plot(
            steps, [evaluation.value for evaluation in evaluations], color=colour, linewidth=1.6, label=plot_text(label)
        )
        loss.plot(steps, [evaluation.loss for evaluation in evaluations], color=colour, linewidth=1.6)
        kept = max(evaluations, key=lambda evaluation: evaluation.value)
        value.plot(kept.step, kept.value, "o", color=colour, markersize=8, markerfacecolor="none", markeredgewidth=1.4)
    value.set_ylabel(f"{unit} on validation data")
    loss.set_ylabel("task loss")
    loss.set_yscale("log")
    for axes in (value, loss):
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_xlabel("training steps")
    figure.legend(loc="outside right center", frameon=False, fontsize=8, title="ring: best", title_fontsize=8)
    return figure
