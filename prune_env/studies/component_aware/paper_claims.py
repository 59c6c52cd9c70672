"""The groups paper's statements beside the rows of the experiment on the paper-size controller."""

from __future__ import annotations

import numpy as np

from prune_env.benchmark.statistics import area_under_curve
from prune_env.studies.component_aware.paper_curves import Curve, common, curve, fall_difference, stage_name, stages
from prune_env.studies.component_aware.paper_job import CONTROLLERS, FREE, PROTECTED, WEIGHTED
from prune_env.studies.component_aware.paper_plan import ASKED, AWARE, LOCAL, MEASURED, METHODS, SPARSITIES, VANILLA
from prune_env.studies.component_aware.study import HALF
from prune_env.studies.core import Claim, Interval, Rows, above, all_of, below, entry, format_interval, over_seeds

AT_ONCE = 0.95
"""A retained return below this at the smallest cut is an immediate decrease."""


def claims(rows: Rows) -> list[Claim]:
    """The paper's statements, for each controller and stage whose points were run."""
    return [
        claim
        for controller in CONTROLLERS
        for steps in stages(rows)
        for claim in (
            *_vanilla(rows, controller, steps),
            *_gradual(rows, controller, steps),
            *_leads(rows, controller, steps),
        )
    ]


def _at(found: Curve, sparsity: float) -> Interval | None:
    index = np.flatnonzero(np.isclose(found.sparsities, sparsity))
    return entry(over_seeds(found.values), int(index[0])) if len(index) else None


def _vanilla(rows: Rows, controller: str, steps: int) -> list[Claim]:
    """What the paper says of the vanilla approach, of both ways to run it."""
    result = []
    for method in (VANILLA, LOCAL):
        found = curve(rows, controller, method, FREE, steps)
        where = f"{METHODS[method]}; {controller}, {stage_name(steps)}"
        if (at_5 := _at(found, SPARSITIES[0])) is not None:
            result.append(
                Claim(
                    "The vanilla approach experiences an immediate decrease.",
                    f"{where}: retained {format_interval(at_5)} at 5 %",
                    below(at_5, AT_ONCE),
                    f"agrees if the interval of the retained return at 5 % lies below {AT_ONCE}, disagrees if above",
                )
            )
        if (at_40 := _at(found, ASKED)) is not None:
            result.append(
                Claim(
                    "The vanilla approach has an abrupt 50 % drop at 40 % of parameter reduction.",
                    f"{where}: retained {format_interval(at_40)} at 40 %",
                    below(at_40, HALF),
                    f"agrees if the interval of the retained return at 40 % lies below {HALF}, disagrees if above",
                )
            )
    return result


def _gradual(rows: Rows, controller: str, steps: int) -> list[Claim]:
    result = []
    for method in (VANILLA, LOCAL):
        aware, vanilla = common(*(curve(rows, controller, name, FREE, steps) for name in (AWARE, method)))
        at_40 = _at(aware, ASKED)
        if at_40 is None or len(aware.sparsities) < 3:
            continue
        gentler = fall_difference(vanilla, aware)
        result.append(
            Claim(
                "The component-aware technique maintains a gradual decline.",
                f"{controller}, {stage_name(steps)}: retained {format_interval(at_40)} at 40 %; steepest fall within "
                f"ten points less than that of {METHODS[method]} by {format_interval(gentler)}",
                all_of([above(at_40, HALF), above(gentler)]),
                f"Component-aware by L2: agrees if the interval of the retained return at 40 % lies above {HALF} and "
                "that of the difference of the steepest falls of the mean curves (bootstrap) above 0; disagrees if "
                "either lies below",
            )
        )
    return result


def _leads(rows: Rows, controller: str, steps: int) -> list[Claim]:
    said = [
        (AWARE, FREE, name, FREE, f"Component-aware pruning (L2) keeps more than {METHODS[name]}.")
        for name in (VANILLA, LOCAL)
    ]
    said += [
        (name, FREE, AWARE, FREE, f"(Of arXiv 2601.19794.) {label} importance serves better than the L2 norm.")
        for name, label in MEASURED.items()
    ]
    said += [
        (AWARE, how, AWARE, FREE, f"(§5) With the encoder {how}, component-aware pruning (L2) keeps more.")
        for how in (WEIGHTED, PROTECTED)
    ]
    said += [
        (AWARE, PROTECTED, name, FREE, f"(§5) With the encoder protected, it (L2) keeps more than {METHODS[name]}.")
        for name in (VANILLA, LOCAL)
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
