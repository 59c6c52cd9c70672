"""Words, figure and tables of the experiment on the paper-size controller."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from prune_env.studies.component_aware.paper_curves import Curve, curve, returns_of, stage_name, stages
from prune_env.studies.component_aware.paper_job import CONTROLLERS, DENSE, FREE, PROTECTED, RANDOM, WEIGHTED
from prune_env.studies.component_aware.paper_plan import METHODS, SPARSITIES, Amount, points
from prune_env.studies.core import Rows, format_interval, markdown_table, over_seeds

TITLE = "The groups paper's own experiment: a controller of its size, 5 % to 80 %"
SETTING = (
    "Figure 2 of arXiv 2504.13296. The network is TD-MPC on cartpole swing-up from images, all components 512 wide, "
    "1,548,360 parameters, as it ships with the package (`sizes=paper`; [its training](../../tdmpc/paper_size.md)). It "
    "is cut once to a share of the parameters of all components. The channels with the least L2 norm of a group go, "
    "nothing is repaired. *Vanilla DepGraph* is torch-pruning's own pruner, which knows no components; it says how "
    "many channels each group loses, by one threshold (global) or one ratio (local). *Component-aware* pruning shares "
    "the cut out by the importance of each component and coupling group, by the rule of all heuristics here: a group "
    "keeps a power of a common share, and the more the larger its standardised log-importance. Cuts go along verified "
    "groups, so a cut that breaks an interface between components cannot happen here.\n\n"
    "After §5 of the paper the encoder is *weighted up* (its groups, and the coupling group that it shares, keep the "
    "fourth root of the share they would keep) or *protected* (they lose nothing). The *planner* uses all components, "
    "as the paper's controller does; the *policy* uses encoder and pi only.\n\n"
    "Returns are those of the same fixed test starts for all. Right after the cut nothing is random, and intervals are "
    "Student's 95 % intervals over the starts, of this one controller; after fine-tuning they are over seeds of the "
    "batches. *Retained* is (return - random) / (dense - random)."
)
_COLOURS = ("#000000", "#7F7F7F", "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#999933")
_LOOKS = {
    method: {"color": colour, "marker": marker, "linestyle": "--" if "depgraph" in method else "-"}
    for method, colour, marker in zip(METHODS, _COLOURS, "sDo^vPX<>", strict=True)
}


def what_was_run(rows: Rows) -> str:
    """How many points of the full experiment there are, and which are missing, in Markdown."""
    table = []
    for controller in CONTROLLERS:
        for steps in sorted({0, *stages(rows)}):
            for encoder in (FREE, PROTECTED, WEIGHTED):
                methods = [m for m in METHODS if encoder == FREE or "depgraph" not in m]
                counts = [len(curve(rows, controller, m, encoder, steps).sparsities) for m in methods]
                done, whole = sum(counts), len(methods) * len(SPARSITIES)
                table.append([controller, stage_name(steps), encoder, f"{done} of {whole}"])
    episodes = ", ".join(map(str, sorted({int(row["episodes"]) for row in rows})))
    whole = len(points(Amount()))
    tuned = "" if any(stages(rows)) else " Nothing was fine-tuned yet."
    header = ("acts", "stage", "encoder", "points run")
    return (
        f"**What has been run.** The full experiment has {whole} points right after the cut, references included, each "
        "for policy and planner, and the same cuts after fine-tuning with three seeds. Here is what there is of it, "
        f"with {episodes} episodes per point.{tuned} The command below makes those that are missing, and keeps the "
        "rows that are there.\n\n" + markdown_table(header, table)
    )


def draw(rows: Rows) -> Figure:
    """Return against parameter reduction, as the paper's Figure 2: a row for each controller and stage with points."""
    lines = [
        (controller, steps)
        for controller in CONTROLLERS
        for steps in stages(rows)
        if any(len(curve(rows, controller, m, e, steps).sparsities) for m in METHODS for e in (FREE, PROTECTED))
    ] or [(CONTROLLERS[0], 0)]
    columns = (FREE, WEIGHTED, PROTECTED)
    figure = Figure(figsize=(12, 0.9 + 3.1 * len(lines)), layout="constrained")
    panels = figure.subplots(len(lines), len(columns), sharex=True, sharey=True, squeeze=False)
    handles: dict[str, Any] = {}
    for line, (controller, steps) in zip(panels, lines, strict=True):
        for axes, encoder in zip(line, columns, strict=True):
            for method, label in METHODS.items():
                shown = FREE if "depgraph" in method else encoder
                found = curve(rows, controller, method, shown, steps)
                if len(found.sparsities):
                    handles.setdefault(label, _draw_curve(axes, found, label, method))
            axes.axhline(0, color="#888888", linewidth=0.8)
            axes.set_ylim(-0.1, 1.15)
        line[0].set_ylabel(f"{controller}, {stage_name(steps)}\nretained return")
    for axes, encoder in zip(panels[0], columns, strict=True):
        axes.set_title(f"encoder {encoder}")
    for axes in panels[-1]:
        axes.set_xlabel("sparsity [share of parameters]")
        axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8], ["0 %", "20 %", "40 %", "60 %", "80 %"])
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False)
    note = "Mean and 95 % interval; vanilla DepGraph, which knows no encoder, is the same in all columns."
    figure.supxlabel(note, fontsize=7.5, color="#555555")
    return figure


def _draw_curve(axes: Any, found: Curve, label: str, method: str) -> Any:
    mean, low, high = (np.concatenate([[1.0], part]) for part in over_seeds(found.values))
    x = np.concatenate([[0.0], found.sparsities])
    (drawn,) = axes.plot(x, mean, label=label, linewidth=1.5, markersize=3.5, **_LOOKS[method])
    if not np.isnan(low[1:]).any():
        axes.fill_between(x, low, high, color=_LOOKS[method]["color"], alpha=0.12, linewidth=0)
    return drawn


def table(rows: Rows) -> str:
    """Mean return at every sparsity, for each controller, stage and treatment of the encoder."""
    parts = ["Mean return over the starts (and seeds)."]
    for controller in CONTROLLERS:
        references = [returns_of(rows, controller, name, FREE, 0.0, 0) for name in (DENSE, RANDOM)]
        if not all(part.size for part in references):
            continue
        dense, random = (
            f"{part.mean():.0f} {format_interval(over_seeds(part[0]), 0).partition(' ')[2]}" for part in references
        )
        parts.append(f"**{controller}**: dense {dense}, random actions {random} ({references[0].shape[1]} starts)")
        for steps in stages(rows):
            lines = []
            for encoder in (FREE, PROTECTED, WEIGHTED):
                for method, label in METHODS.items():
                    means = [returns_of(rows, controller, method, encoder, s, steps) for s in SPARSITIES]
                    if any(m.size for m in means):
                        lines.append([label, encoder, *(f"{m.mean():.0f}" if m.size else "-" for m in means)])
            if lines:
                header = (stage_name(steps), "encoder", *(f"{s:.0%}" for s in SPARSITIES))
                parts.append(markdown_table(header, lines))
    return "\n\n".join(parts)
