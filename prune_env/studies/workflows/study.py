"""The study "workflows": Train -> Prune against Train -> Prune -> Continue, which arXiv 2601.19794 leaves open.

Letters: N seeds, A arms, P policies, S sparsities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from prune_env.studies.core import (
    DIGITS,
    PENDULUM,
    Claim,
    Interval,
    Job,
    Rows,
    Study,
    Verdict,
    depends_on,
    entry,
    format_interval,
    markdown_table,
    over_seeds,
    unique,
)
from prune_env.studies.workflows.job import GRADUAL, LATE, ONE_SHOT, arms, subject_networks, workflow

_LOOKS = {
    ONE_SHOT: {"color": "#000000", "marker": "s"},
    GRADUAL: {"color": "#D55E00", "marker": "o"},
    LATE: {"color": "#0072B2", "marker": "^"},
}
MARGIN = 0.02
"""Retained score that a workflow may be behind by and still count as equally good."""


class Workflows(Study):
    """One cut at convergence, or many cuts while the network learns."""

    name = "workflows"
    title = "Train, prune; or train, prune, continue?"
    seeds = (0, 1, 2, 3, 4)
    quick_seeds = (0, 1, 2)

    def setting(self, quick: bool) -> str:
        """The workflows and their steps."""
        networks, sparsities, policies = _settings(quick)
        lines = [
            f"- {target}: "
            + "; ".join(
                f"*{arm}*: {a.dense_steps} dense steps, then {a.rounds} x (cut, {a.steps} steps)"
                for arm, a in arms(**plan).items()
            )
            + f"; {arms(**plan)[ONE_SHOT].total} steps each"
            for target, (_, plan) in networks.items()
        ]
        text = (
            "arXiv 2601.19794 names two workflows, Train -> Prune and Train -> Prune -> Continue, and leaves open "
            "which is better. Here they have the same number of training steps, the same networks, the same heuristics "
            f"({', '.join(policies)}; read off anew before each cut), the same choice of channels and the same repair. "
            f"They end at sparsities of {', '.join(f'{s:.0%}' for s in sparsities)}; gradual cuts go there "
            "geometrically. Scores are on test data; *retained score* is counted from a dense network that was "
            "trained for as many steps, for all of them. The third workflow, gradual cuts after convergence, "
            "tells what comes of cutting gradually from what comes of cutting early. The learning rate is the same "
            "throughout. A controller also collects two episodes at every cut, so gradual cuts give it a few more to "
            "learn from. Intervals are Student's 95 % intervals over seeds.\n\n" + "\n".join(lines)
        )
        return text + ("\n\nThe quick setting has fewer steps, policies and seeds." if quick else "")

    def jobs(self, quick: bool, seeds: Sequence[int]) -> list[Job]:
        """One for each network, seed and workflow."""
        networks, sparsities, policies = _settings(quick)
        return [
            Job(
                workflow,
                {
                    "name": name,
                    "network": network,
                    "seed": seed,
                    "arm": arm,
                    "plan": plan,
                    "sparsities": list(sparsities),
                    "policies": list(policies),
                },
                depends_on(network),
                subject_networks(network, seed, arm, plan),
            )
            for name, (network, plan) in networks.items()
            for seed in seeds
            for arm in arms(**plan)
        ]

    def claims(self, rows: Rows, quick: bool) -> list[Claim]:
        """Whether gradual cuts are at least as good as one, per target."""
        return [_claim(rows, target, arm) for target in unique(rows, "target") for arm in (GRADUAL, LATE)]

    def draw(self, rows: Rows, quick: bool) -> Figure:
        """Retained score of each workflow at each sparsity; a row for each policy, a column for each target."""
        targets, policies, sparsities = unique(rows, "target"), unique(rows, "policy"), unique(rows, "sparsity")
        figure = Figure(figsize=(1.6 + 3.4 * len(targets), 1.3 + 2.5 * len(policies)), layout="constrained")
        panels = figure.subplots(len(policies), len(targets), sharex=True, sharey="row", squeeze=False)
        places = np.arange(len(sparsities))
        for down, policy in enumerate(policies):
            for across, target in enumerate(targets):
                axes = panels[down, across]
                axes.axhline(1, color="#888888", linewidth=0.8)
                axes.axhline(0, color="#888888", linewidth=0.8)
                for (arm, look), shift in zip(_LOOKS.items(), (-0.13, 0.0, 0.13), strict=True):
                    _draw_arm(axes, places + shift, retained(rows, target, arm)[:, policies.index(policy)], arm, look)
                axes.set_title(f"{target}, {policy}")
                axes.set_xticks(places, [f"{s:.0%}" for s in sparsities])
            panels[down, 0].set_ylabel("retained score\n[1 = dense, trained as long]")
        for axes in panels[-1]:
            axes.set_xlabel("sparsity [share of parameters]")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
        return figure

    def table(self, rows: Rows, quick: bool) -> str:
        """Each workflow at each sparsity, and its lead on one-shot."""
        sparsities = unique(rows, "sparsity")
        lines = []
        for target in unique(rows, "target"):
            for p, policy in enumerate(unique(rows, "policy")):
                first = retained(rows, target, ONE_SHOT)[:, p]
                for arm in _LOOKS:
                    values = retained(rows, target, arm)[:, p]
                    found, lead = over_seeds(values), over_seeds(values - first)
                    cells = [format_interval(entry(found, s)) for s in range(len(sparsities))]
                    if arm != ONE_SHOT:
                        cells = [f"{c}, lead {format_interval(entry(lead, s))}" for s, c in enumerate(cells)]
                    lines.append([target, policy, arm, *cells])
        header = ["target", "heuristic", "workflow", *(f"{s:.0%}" for s in sparsities)]
        return markdown_table(header, lines)


def _draw_arm(axes: Any, places: np.ndarray, values: np.ndarray, arm: str, look: dict[str, Any]) -> None:
    """Mean and interval at each sparsity, and every seed as a dot, [N, S]."""
    found = over_seeds(values)
    axes.plot(np.tile(places, len(values)), values.ravel(), ".", color=look["color"], alpha=0.3, markersize=4)
    ends = [found.value - found.low, found.high - found.value]
    bars = None if np.isnan(ends).any() else ends
    axes.errorbar(places, found.value, yerr=bars, label=arm, markersize=6, linewidth=1.5, **look)


Networks = dict[str, tuple[dict[str, Any], dict[str, int]]]
"""Network and arguments of `arms` by target."""


def _settings(quick: bool) -> tuple[Networks, tuple[float, ...], tuple[str, ...]]:
    """Networks, sparsities and policies."""
    constant_rate = {**DIGITS, "final_learning_rate": 1e-3}
    # A controller kept as it was at its best look would have had fewer steps than the others: one look, at the end.
    pendulum = {**PENDULUM, "eval_every": 1_000_000}
    sparsities = (0.5, 0.7, 0.85)
    if quick:
        plan = {"dense_steps": 1200, "tuning_steps": 150, "rounds": 3}
        networks: Networks = {
            "autoencoder, digits": (constant_rate, plan),
            "TD-MPC, pendulum": ({**pendulum, "starts": 10}, plan),
        }
        return networks, sparsities, ("fisher",)
    plan = {"tuning_steps": 400, "rounds": 5}
    networks = {
        "autoencoder, digits": (constant_rate, {"dense_steps": 4000, **plan}),
        "TD-MPC, pendulum": (pendulum, {"dense_steps": 2000, **plan}),
    }
    return networks, sparsities, ("l2", "fisher")


def retained(rows: Rows, target: str, arm: str) -> np.ndarray:
    """Retained scores of one workflow, [N, P, S]."""
    chosen = [row for row in rows if row["target"] == target and row["arm"] == arm]
    table = {(row["seed"], row["policy"], row["sparsity"]): row["retained"] for row in chosen}
    return np.array(
        [
            [[table[seed, policy, s] for s in unique(rows, "sparsity")] for policy in unique(rows, "policy")]
            for seed in unique(chosen, "seed")
        ],
        dtype=float,
    )


def at_least_as_good(lead: Interval) -> Verdict:
    """Whether a lead is at worst a deficit of `MARGIN`."""
    if lead.low > -MARGIN:
        return "agrees"
    return "disagrees" if lead.high < -MARGIN else "cannot be decided"


def _claim(rows: Rows, target: str, arm: str) -> Claim:
    leads = retained(rows, target, arm) - retained(rows, target, ONE_SHOT)
    overall, each = over_seeds(leads.mean(axis=(1, 2))), over_seeds(leads.mean(axis=1))
    sparsities, policies, cells = unique(rows, "sparsity"), unique(rows, "policy"), leads.mean(axis=0)
    single = ", ".join(f"{format_interval(entry(each, s))} at {x:.0%}" for s, x in enumerate(sparsities))
    ends = [np.unravel_index(cells.argmin(), cells.shape), np.unravel_index(cells.argmax(), cells.shape)]
    of_cells = over_seeds(leads)
    least, most = (
        f"{format_interval(entry(of_cells, end))} ({policies[end[0]]}, {sparsities[end[1]]:.0%})" for end in ends
    )
    return Claim(
        f"(§6, an open question of the paper.) Cuts that are {arm} are at least as good as one-shot at convergence.",
        f"{target}: lead in retained score {format_interval(overall)}; {single}; from {least} to {most}",
        at_least_as_good(overall),
        "Retained score less that of one-shot, mean over heuristics and sparsities, paired by seed: agrees if the "
        f"interval lies above -{MARGIN}, disagrees if it lies below",
    )
