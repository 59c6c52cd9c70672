"""Sentences of §5 of arXiv 2601.19794 that say what a cut costs, beside the damage that was measured.

Letters: N seeds, K ratios.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from prune_env.studies.core.harness import AFTER_CUT
from prune_env.studies.core.intervals import above, below, entry, format_interval, over_seeds
from prune_env.studies.core.rows import unique
from prune_env.studies.core.study import Claim, Rows

BOTTLENECK, WIDE, CONTROLLER = "autoencoder, digits", "autoencoder, MNIST", "TD-MPC, pendulum"
"""The target whose latent is narrow, the one whose latent is wide, and the controller."""
SUBSTANTIAL = 0.1
"""Retained score from which a loss is substantial."""
_REPRESENTATION, _LATENT = ("encoder.0", "dynamics.2"), ("encoder.2",)
_READERS = ("pi.0", "dynamics.0", "reward.0", "q1.0", "q2.0")


def sentences(rows: Rows) -> list[Claim]:
    """The claims of the targets that have rows."""
    judged: dict[str, Callable[[Rows], list[Claim]]] = {
        BOTTLENECK: _coupling_loses,
        WIDE: _coupling_not_exempt,
        CONTROLLER: _model_before_interfaces,
    }
    return [claim for target, judge in judged.items() for claim in judge([r for r in rows if r["target"] == target])]


def _coupling_loses(rows: Rows) -> list[Claim]:
    if not rows:
        return []
    (coupling,) = {str(row["group"]) for row in rows if row["kind"] == "coupling"}
    ratios = unique(rows, "ratio")
    lost = over_seeds(damage_of(rows, [coupling]))
    least = entry(lost, 0)
    return [
        Claim(
            "(§5.1, H1) In tightly constrained autoencoders any pruning of the coupling group loses information "
            "immediately and substantially.",
            f"{BOTTLENECK}, 16 latent channels: damage right after the cut of {coupling}: "
            + ", ".join(f"{format_interval(entry(lost, k))} at {ratio:.0%}" for k, ratio in enumerate(ratios)),
            above(least, SUBSTANTIAL),
            f"agrees if the interval of the damage at the smallest ratio lies above {SUBSTANTIAL} of retained score, "
            "disagrees if below",
        )
    ]


def _coupling_not_exempt(rows: Rows) -> list[Claim]:
    if not rows:
        return []
    (coupling,) = {str(row["group"]) for row in rows if row["kind"] == "coupling"}
    others = list(dict.fromkeys(str(row["group"]) for row in rows if row["kind"] != "coupling"))
    own, theirs = (damage_of(rows, groups).mean(axis=1) for groups in ([coupling], others))
    lead = over_seeds(own - theirs)
    return [
        Claim(
            "(§5.1, H1) Coupling groups are not exempt from pruning in over-parameterized autoencoders.",
            f"{WIDE}, 256 latent channels: mean damage right after the cut of {coupling} {own.mean():.3f}, of the "
            f"component groups {theirs.mean():.3f}; difference {format_interval(lead, 3)}",
            below(lead),
            "mean over ratios, paired by seed: agrees if the interval of the difference lies below 0, disagrees if "
            "above",
        )
    ]


def _model_before_interfaces(rows: Rows) -> list[Claim]:
    if not rows:
        return []
    own = damage_of(rows, _REPRESENTATION).mean(axis=1)
    readings = {"our coupling group, the latent": _LATENT, "the paper's, the layers that read it": _READERS}
    result = []
    for words, interfaces in readings.items():
        lead = over_seeds(own - damage_of(rows, interfaces).mean(axis=1))
        result.append(
            Claim(
                "(§5.2, H1) Representation learning and dynamics prediction are more essential for control performance "
                f"than the interface layers ({words}).",
                f"{CONTROLLER}: mean damage right after the cut of {' and '.join(_REPRESENTATION)} less that of "
                f"{', '.join(interfaces)}: {format_interval(lead)}",
                above(lead),
                "mean over groups and ratios, paired by seed: agrees if the interval lies above 0, disagrees if below",
            )
        )
    return result


def damage_of(rows: Rows, groups: Sequence[str]) -> np.ndarray:
    """Mean damage right after the cut over some groups of one target, [N, K]."""
    found = {
        (row["seed"], row["ratio"], row["group"]): float(row["damage"]) for row in rows if row["stage"] == AFTER_CUT
    }
    return np.array(
        [
            [np.mean([found[seed, ratio, group] for group in groups]) for ratio in unique(rows, "ratio")]
            for seed in unique(rows, "seed")
        ]
    )
