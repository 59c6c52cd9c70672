"""What the rows of the experiment on the paper-size controller say: claims, figure and tables.

Letters: E episodes or seeds, over which intervals are; S sparsities.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prune_env.benchmark.statistics import area_under_curve
from prune_env.studies.component_aware.paper_job import CONTROLLERS, DENSE, FREE, PROTECTED, RANDOM, WEIGHTED
from prune_env.studies.component_aware.paper_plan import (
    ASKED,
    AWARE,
    MEASURED,
    METHODS,
    SPARSITIES,
    VANILLA,
    Amount,
    points,
)
from prune_env.studies.component_aware.study import HALF, steepest_fall
from prune_env.studies.core import (
    Claim,
    Interval,
    Rows,
    above,
    all_of,
    below,
    entry,
    format_interval,
    markdown_table,
    over_seeds,
)

Array = NDArray[np.float64]

TITLE = "The groups paper's own experiment: a controller of its size, 5 % to 80 %"
SETTING = (
    "Figure 2 of arXiv 2504.13296. The network is TD-MPC on cartpole swing-up from images, all components 512 wide, "
    "1,548,360 parameters, as it ships with the package (`sizes=paper`; [its training](../../tdmpc/paper_size.md)). It "
    "is cut once to a share of the parameters of all components. The channels with the least L2 norm of a group go, "
    "nothing is repaired. *Vanilla DepGraph* is torch-pruning's own pruner, which knows no components; it says how "
    "many channels each group loses, by one threshold (global) or one ratio (local). *Component-aware* pruning shares "
    "the cut out by the importance of each component and coupling group. Every cut is made along verified groups, so "
    "a cut that breaks an interface between components cannot happen here.\n\n"
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
_RESAMPLES = 2000


class Curve(NamedTuple):
    """Retained return of one method: sparsities [S] that were run, and values [E, S]."""

    sparsities: Array
    values: Array


def stages(rows: Rows) -> list[int]:
    """Updates of fine-tuning that occur, ascending; 0 is right after the cut."""
    return sorted({int(row["steps"]) for row in rows})


def stage_name(steps: int) -> str:
    """In words."""
    return f"after {steps} updates of fine-tuning" if steps else "right after the cut"


def returns_of(rows: Rows, controller: str, method: str, encoder: str, sparsity: float, steps: int) -> Array:
    """Returns [seeds, starts]; [0, 0] if it was not run. Of several numbers of episodes, the largest counts."""
    wanted = {"controller": controller, "method": method, "encoder": encoder, "sparsity": sparsity, "steps": steps}
    found = [row for row in rows if wanted.items() <= row.items()]
    most = max((int(row["episodes"]) for row in found), default=0)
    lists = [[float(x) for x in str(row["returns"]).split()] for row in found if row["episodes"] == most]
    return np.array(lists).reshape(len(lists), most)


def curve(rows: Rows, controller: str, method: str, encoder: str = FREE, steps: int = 0) -> Curve:
    """Retained return against sparsity, of the starts that the references share."""
    dense, random = (returns_of(rows, controller, name, FREE, 0.0, 0) for name in (DENSE, RANDOM))
    found = {s: v for s in SPARSITIES if (v := returns_of(rows, controller, method, encoder, s, steps)).size}
    if not (found and dense.size and random.size):
        return Curve(np.zeros(0), np.zeros((0, 0)))
    starts = min(v.shape[1] for v in [*found.values(), dense, random])
    floor, top = random[:, :starts].mean(), dense[:, :starts].mean()
    per_entry = [v[:, :starts].mean(axis=1) if steps else v[0, :starts] for v in found.values()]
    fewest = min(map(len, per_entry))
    values = (np.stack([v[:fewest] for v in per_entry], axis=1) - floor) / (top - floor)
    return Curve(np.array(list(found)), values)


# -------------------------------------------------------------------- claims
def claims(rows: Rows) -> list[Claim]:
    """The paper's statements, for each controller and stage whose points were run."""
    return [
        claim
        for controller in CONTROLLERS
        for steps in stages(rows)
        for claim in (
            *_half(rows, controller, steps),
            *_gradual(rows, controller, steps),
            *_leads(rows, controller, steps),
        )
    ]


def _at(found: Curve, sparsity: float) -> Interval | None:
    index = np.flatnonzero(np.isclose(found.sparsities, sparsity))
    return entry(over_seeds(found.values), int(index[0])) if len(index) else None


def _half(rows: Rows, controller: str, steps: int) -> list[Claim]:
    at_40 = _at(curve(rows, controller, VANILLA, FREE, steps), ASKED)
    if at_40 is None:
        return []
    return [
        Claim(
            "The vanilla approach has an abrupt 50 % drop at 40 % of parameter reduction.",
            f"{controller}, {stage_name(steps)}: retained {format_interval(at_40)} at 40 %",
            below(at_40, HALF),
            "Vanilla DepGraph (global) at 40 %: agrees if the interval of the retained return lies below 0.5, "
            "disagrees if above",
        )
    ]


def _gradual(rows: Rows, controller: str, steps: int) -> list[Claim]:
    aware, vanilla = common(*(curve(rows, controller, name, FREE, steps) for name in (AWARE, VANILLA)))
    at_40 = _at(aware, ASKED)
    if at_40 is None or len(aware.sparsities) < 3:
        return []
    gentler = fall_difference(vanilla, aware)
    return [
        Claim(
            "The component-aware technique maintains a gradual decline.",
            f"{controller}, {stage_name(steps)}: retained {format_interval(at_40)} at 40 %; steepest fall within ten "
            f"points less than vanilla's by {format_interval(gentler)}",
            all_of([above(at_40, HALF), above(gentler)]),
            "Component-aware by L2: agrees if the interval of the retained return at 40 % lies above 0.5 and that of "
            "the difference of the steepest falls of the mean curves (bootstrap) above 0; disagrees if either lies "
            "below",
        )
    ]


def _leads(rows: Rows, controller: str, steps: int) -> list[Claim]:
    said = [(AWARE, FREE, VANILLA, FREE, "Component-aware pruning (L2) keeps more than the vanilla approach.")]
    said += [
        (name, FREE, AWARE, FREE, f"(Of arXiv 2601.19794.) {label} importance serves better than the L2 norm.")
        for name, label in MEASURED.items()
    ]
    said += [
        (AWARE, how, AWARE, FREE, f"(§5) With the encoder {how}, component-aware pruning (L2) keeps more.")
        for how in (WEIGHTED, PROTECTED)
    ]
    result = []
    for method, encoder, other, others_encoder, words in said:
        first, second = common(
            curve(rows, controller, method, encoder, steps), curve(rows, controller, other, others_encoder, steps)
        )
        if len(first.sparsities) < 3:
            continue
        lead = over_seeds(
            area_under_curve(first.values, first.sparsities) - area_under_curve(second.values, second.sparsities)
        )
        where = f"{len(first.sparsities)} sparsities from {first.sparsities[0]:.0%} to {first.sparsities[-1]:.0%}"
        result.append(
            Claim(
                words,
                f"{controller}, {stage_name(steps)}: area under the curve of the retained return larger by "
                f"{format_interval(lead)} ({where})",
                above(lead),
                "agrees if the interval of the difference, paired by start, lies above 0; disagrees if below",
            )
        )
    return result


def common(first: Curve, second: Curve) -> tuple[Curve, Curve]:
    """Two curves at the sparsities, and over the starts, that both have."""
    both = np.intersect1d(first.sparsities, second.sparsities)
    entries = min(len(first.values), len(second.values))
    parts = [Curve(both, c.values[:entries][:, np.isin(c.sparsities, both)]) for c in (first, second)]
    return parts[0], parts[1]


def fall_difference(steeper: Curve, gentler: Curve) -> Interval:
    """Difference of the steepest falls of the mean curves, and its 95 % bootstrap interval over entries."""
    entries = len(steeper.values)
    drawn = np.random.default_rng(0).integers(entries, size=(_RESAMPLES, entries))
    whole = np.arange(entries)[None]

    def falls(index: Any) -> Array:
        return np.asarray(
            steepest_fall(steeper.values[index].mean(axis=1), steeper.sparsities)
            - steepest_fall(gentler.values[index].mean(axis=1), gentler.sparsities)
        )

    low, high = np.quantile(falls(drawn), (0.025, 0.975))
    return Interval(falls(whole)[0], low, high)


# -------------------------------------------------------------------- words and pictures
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
    whole = len(points(Amount(planner=True)))
    header = ("acts", "stage", "encoder", "points run")
    tuned = "" if any(stages(rows)) else " Nothing was fine-tuned yet."
    return (
        f"**What has been run.** Episodes per point: {episodes}. Of the full experiment ({whole} cuts right after the "
        f"cut, policy and planner, and the same after fine-tuning with three seeds):{tuned} Points that are missing "
        "are made by the command below, which keeps the rows that are there.\n\n" + markdown_table(header, table)
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
