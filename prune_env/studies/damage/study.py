"""The study "damage": which number that is known before a cut orders the groups as the cut's cost does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from prune_env.studies.core import (
    AFTER_CUT,
    CHANCE,
    DIGITS,
    MNIST,
    PENDULUM,
    Claim,
    Interval,
    Job,
    Rows,
    Study,
    Verdict,
    above,
    all_of,
    dense_networks,
    depends_on,
    entry,
    format_interval,
    markdown_table,
    over_seeds,
    permutation_p,
    unanimous,
    unique,
)
from prune_env.studies.damage.job import (
    MEASURES,
    NORMS,
    PREDICTORS,
    STAGES,
    correlations,
    damage,
    table,
)
from prune_env.studies.damage.sentences import sentences

_NAMES = list(PREDICTORS)
_COMPETING = [i for i, name in enumerate(_NAMES) if name != "chance"]
_COLOURS = {STAGES[0]: "#0072B2", STAGES[1]: "#D55E00"}


class Damage(Study):
    """Cut each group alone, and correlate what it costs with what was known."""

    name = "damage"
    title = "Does importance predict damage?"
    seeds = (0, 1, 2, 3, 4)
    quick_seeds = (0, 1, 2)

    def setting(self, quick: bool) -> str:
        """Networks, ratios and steps."""
        networks, ratios = _settings(quick)
        listed = "; ".join(
            f"{name}, {steps} steps of fine-tuning" + (f", {most} seeds at most" if most else "")
            for name, (_, steps, most) in networks.items()
        )
        text = (
            "The question behind arXiv 2601.19794, which it does not ask: does a group's importance say what the "
            "network loses without it? Each group of a dense network is cut alone, by "
            f"{', '.join(f'{r:.0%}' for r in ratios)} of its channels (those with the least Fisher x w² go), repaired "
            "as the environment does by default, scored, and scored again after fine-tuning. *Damage* is the retained "
            "score on test data of the dense network after the same repair and fine-tuning, less that of the cut one. "
            "Every predictor is read off the dense network. Spearman's correlation is taken across the groups of a "
            "network, averaged over ratios, and then over seeds, with Student's 95 % interval over seeds. However many "
            "seeds there are, a network has few groups: *p* is how often exchanged groups, the same exchange in all "
            "seeds and ratios, would correlate as much.\n\n"
            f"Networks: {listed}."
        )
        return text + ("\n\nThe quick setting has fewer ratios and seeds, and no MNIST." if quick else "")

    def jobs(self, quick: bool, seeds: Sequence[int]) -> list[Job]:
        """One for each network, seed and ratio."""
        networks, ratios = _settings(quick)
        return [
            Job(
                damage,
                {"name": name, "network": network, "seed": seed, "ratio": ratio, "steps": steps},
                depends_on(network),
                dense_networks(network, seed),
            )
            for name, (network, steps, most) in networks.items()
            for seed in (seeds[:most] if most else seeds)
            for ratio in ratios
        ]

    def claims(self, rows: Rows, quick: bool) -> list[Claim]:
        """Whether each of the paper's measures points the right way, and whether gradients do better than norms."""
        judged = [claim for target in unique(rows, "target") for claim in _claims(rows, target)]
        return judged + sentences(rows)

    def draw(self, rows: Rows, quick: bool) -> Figure:
        """Mean correlation of every predictor, one panel a target."""
        targets = unique(rows, "target")
        figure = Figure(figsize=(2.4 + 2.7 * len(targets), 5.2), layout="constrained")
        panels = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
        places = np.arange(len(_NAMES))
        for axes, target in zip(panels, targets, strict=True):
            axes.axvline(0, color="#888888", linewidth=0.8)
            for stage, shift, marker in zip(STAGES, (-0.17, 0.17), "os", strict=True):
                found = over_seeds(correlations(rows, target, stage).mean(axis=1))
                ends = [found.value - found.low, found.high - found.value]
                axes.errorbar(
                    found.value,
                    places + shift,
                    xerr=None if np.isnan(ends).any() else ends,
                    fmt=marker,
                    color=_COLOURS[stage],
                    markersize=5,
                    linewidth=1.4,
                    label=stage,
                )
            seeds = len({row["seed"] for row in rows if row["target"] == target})
            axes.set_title(f"{target}\n{seeds} seeds")
            axes.set_xlim(-1.05, 1.05)
        panels[0].set_yticks(places, PREDICTORS.values())
        panels[0].invert_yaxis()
        figure.supxlabel("rank correlation with damage across groups [mean over seeds, 95 % interval]", fontsize=9)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
        return figure

    def table(self, rows: Rows, quick: bool) -> str:
        """Winners, the correlations behind the figure, and the damage of every group."""
        parts = []
        for target in unique(rows, "target"):
            for stage in STAGES:
                per_ratio = correlations(rows, target, stage)
                found, single = over_seeds(per_ratio.mean(axis=1)), per_ratio.mean(axis=0)
                best, tied = winner(per_ratio.mean(axis=1))
                chances = chance_of(rows, target, stage)
                text = f"**{target}, {stage}: {PREDICTORS[best]} wins**"
                text += f", tied with {', '.join(PREDICTORS[name] for name in tied)}." if tied else ", untied."
                ratios = unique(rows, "ratio")
                header = ["predictor", "rank correlation with damage", "p", *(f"at {ratio:.0%}" for ratio in ratios)]
                lines = [
                    [
                        PREDICTORS[_NAMES[p]],
                        format_interval(entry(found, p)),
                        f"{chances[_NAMES[p]]:.2g}",
                        *(f"{c:.2f}" for c in single[:, p]),
                    ]
                    for p in np.argsort(-found.value, kind="stable")
                ]
                parts += [text, markdown_table(header, lines)]
        rule = (
            "The winner has the highest mean correlation; tied with it is whose difference from it, paired by seed, "
            'has an interval that reaches 0. "Chance" is a random number for each group, and cannot win. '
            "What is said of *removed channels* is their sum, and knows the ratio; everything else does not."
        )
        return "\n\n".join([rule, *parts, "Mean damage of each group", _damage_table(rows)])


def _settings(quick: bool) -> tuple[dict[str, tuple[dict[str, Any], int, int]], tuple[float, ...]]:
    """Network, steps of fine-tuning and most seeds (0: all) by target; and the ratios."""
    if quick:
        return {
            "autoencoder, digits": (DIGITS, 50, 0),
            "TD-MPC, pendulum": ({**PENDULUM, "dense_steps": 1200, "starts": 10}, 50, 0),
        }, (0.5,)
    return {
        "autoencoder, digits": (DIGITS, 100, 0),
        "autoencoder, MNIST": (MNIST, 50, 3),
        "TD-MPC, pendulum": (PENDULUM, 100, 0),
    }, (0.25, 0.5, 0.75)


def winner(values: np.ndarray) -> tuple[str, list[str]]:
    """The predictor with the highest mean correlation, and those that are not behind it for certain.

    Args:
        values: Correlations, [N, P].
    """
    best = max(_COMPETING, key=lambda p: values[:, p].mean())
    behind = over_seeds(values[:, [best]] - values)
    tied = [p for p in _COMPETING if p != best and not behind.low[p] > 0]
    return _NAMES[best], [_NAMES[p] for p in tied]


def chance_of(rows: Rows, target: str, stage: str) -> dict[str, float]:
    """The p-value of every predictor; see `permutation_p`."""
    chosen = [row for row in rows if row["target"] == target and row["stage"] == stage]
    return {name: permutation_p(table(chosen, name), table(chosen, "damage")) for name in PREDICTORS}


def _claims(rows: Rows, target: str) -> list[Claim]:
    by_stage = [correlations(rows, target, stage).mean(axis=1) for stage in STAGES]  # [N, P] each
    chances = [chance_of(rows, target, stage) for stage in STAGES]
    claims = []
    for name, label in MEASURES.items():
        found = [over_seeds(values[:, _NAMES.index(name)]) for values in by_stage]
        ps = [chance[name] for chance in chances]
        said = [f"{format_interval(interval)}, p = {p:.2g}," for interval, p in zip(found, ps, strict=True)]
        claims.append(
            Claim(
                f"(§3) A group's importance ({label}) is a signal of what may be removed.",
                f"{target}: {_stages(said)}",
                unanimous([_beyond_chance(interval, p) for interval, p in zip(found, ps, strict=True)]),
                "Rank correlation of importance with damage across groups, right after the cut and after fine-tuning: "
                f"agrees if both intervals lie above 0 and both p below {CHANCE}, disagrees if below 0 and p as small",
            )
        )
    return [
        *claims,
        *(_norms_fail(values, f"{target}, {stage}") for values, stage in zip(by_stage, STAGES, strict=True)),
    ]


def _norms_fail(values: np.ndarray, where: str) -> Claim:
    """Gradient importance against each norm by itself: a mean over norms would hide one that predicts better.

    Args:
        values: Correlations, [N, P].
        where: Target and stage.
    """
    lead = over_seeds(values[:, [_NAMES.index("gradient")]] - values[:, [_NAMES.index(name) for name in NORMS]])
    each = [entry(lead, i) for i in range(len(NORMS))]
    said = "; ".join(f"{label} {format_interval(found)}" for label, found in zip(NORMS.values(), each, strict=True))
    return Claim(
        "(§4.3.1) Norms often fail to capture the functional importance that gradients see.",
        f"{where}: correlation of gradient importance less that of {said}; best of all: "
        f"{PREDICTORS[winner(values)[0]]}",
        all_of([above(found) for found in each]),
        "Rank correlation of gradient importance with damage less that of each norm, paired by seed: agrees if the "
        "interval lies above 0 for every norm, disagrees if it lies below 0 for one",
    )


def _beyond_chance(interval: Interval, p: float) -> Verdict:
    return above(interval) if p < CHANCE else "cannot be decided"


def _stages(found: Sequence[str]) -> str:
    return ", ".join(f"{words} {stage}" for words, stage in zip(found, STAGES, strict=True))


def _damage_table(rows: Rows) -> str:
    """Mean damage over seeds of each group, with its importance, right after the cut and after fine-tuning."""
    lines = []
    for target in unique(rows, "target"):
        chosen = [row for row in rows if row["target"] == target]
        for group in unique(chosen, "group"):
            cuts = [row for row in chosen if row["group"] == group]
            means = [
                f"{np.mean([row['damage'] for row in cuts if row['stage'] == s and row['ratio'] == r]):.3f}"
                for r in unique(chosen, "ratio")
                for s in STAGES
            ]
            lines.append([target, group, cuts[0]["kind"], *means])
    header = [
        f"{ratio:.0%}, {'cut' if stage == AFTER_CUT else 'tuned'}"
        for ratio in unique(rows, "ratio")
        for stage in STAGES
    ]
    return markdown_table(["target", "group", "kind", *header], lines)
