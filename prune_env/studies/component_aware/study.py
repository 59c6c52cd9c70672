"""The study "sparsity-reward", the central figure of arXiv 2504.13296: the task's score against sparsity.

Letters: N seeds, S sparsities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from prune_env.benchmark.statistics import area_under_curve
from prune_env.studies.component_aware.job import PLAIN, REPAIRED, STAGES, sparsity_sweep
from prune_env.studies.core import (
    DIGITS,
    PENDULUM,
    Claim,
    Job,
    Rows,
    Study,
    above,
    all_of,
    below,
    dense_networks,
    depends_on,
    entry,
    format_interval,
    markdown_table,
    over_seeds,
    unique,
)

VANILLA, AWARE = "depgraph-global", "l2"
POLICIES: dict[str, tuple[str, dict[str, Any]]] = {
    VANILLA: ("vanilla DepGraph, global", {"color": "#000000", "marker": "s", "linestyle": "--"}),
    "depgraph-local": ("vanilla DepGraph, local", {"color": "#7F7F7F", "marker": "D", "linestyle": "--"}),
    AWARE: ("component-aware, L2", {"color": "#E69F00", "marker": "o"}),
    "gradient": ("component-aware, gradient", {"color": "#0072B2", "marker": "^"}),
    "fisher": ("component-aware, Fisher", {"color": "#009E73", "marker": "v"}),
    "bayes": ("component-aware, Bayes, literal", {"color": "#CC79A7", "marker": "P"}),
}
"""Policy -> what it is called, and its line."""
SAID_OF = "(§5, of cartpole swing-up from images)"
"""What the paper's claims are about."""
HALF = 0.5
ASKED = 0.4
_LOWEST_SHOWN = -0.4


class SparsityReward(Study):
    """Score against sparsity, for pruning that knows of components and pruning that does not."""

    name = "sparsity-reward"
    title = "Task score against sparsity: vanilla DepGraph and component-aware pruning"
    seeds = (0, 1, 2, 3, 4)
    quick_seeds = (0, 1, 2)

    def setting(self, quick: bool) -> str:
        """Networks, sparsities, and what is compared with what."""
        networks, sparsities, _ = _settings(quick)
        listed = "; ".join(f"{name}, {steps} steps of fine-tuning" for name, (_, steps) in networks.items())
        text = (
            "After the central figure of arXiv 2504.13296, whose claims are about one controller: TD-MPC on cartpole "
            "swing-up from images, 512 wide, pruned and not trained again. Here stand small networks in its place, "
            "TD-MPC on the *pendulum* from its state and an autoencoder, so that there can be several seeds: a verdict "
            "says whether the claim carries over to them. [The paper's own setting](../sparsity-reward-paper/page.md) "
            "is an experiment of its own. Each dense network is cut once, to "
            f"{', '.join(f'{s:.0%}' for s in sparsities)} of its parameters removed, scored on test data, and scored "
            "again after fine-tuning. *Retained score* is (score - floor) / (dense score - floor); the floor is random "
            "actions for the controller, which is scored with its planner, and the mean image for the autoencoder. "
            "Intervals are Student's 95 % intervals over seeds.\n\n"
            "What is compared: *vanilla DepGraph* is torch-pruning's own pruner, which knows nothing of components; it "
            "says how many channels each group loses, by one threshold over all of them (global) or by one ratio for "
            "all (local). *Component-aware* pruning shares the same sparsity out by the importance of each component "
            "and coupling group. Which channels of a group go, repair and fine-tuning are the same for all, and every "
            "cut is made along verified groups. So a vanilla cut that breaks an interface between components, which "
            "the paper's may have suffered from, cannot happen here: what remains to be compared is how the cut is "
            "shared out.\n\n"
            f"*{PLAIN.capitalize()}* are those of the papers: the channels with the least L2 norm go, and nothing is "
            f"repaired. *{REPAIRED.capitalize()}* are the environment's default: the least Fisher x w² goes, and "
            "BatchNorm is recalibrated (autoencoder) or mean activations are folded into biases (TD-MPC).\n\n"
            f"Networks: {listed}."
        )
        return text + ("\n\nThe quick setting has fewer sparsities, policies and seeds." if quick else "")

    def jobs(self, quick: bool, seeds: Sequence[int]) -> list[Job]:
        """One for each network, seed, way and policy."""
        networks, sparsities, policies = _settings(quick)
        return [
            Job(
                sparsity_sweep,
                {
                    "name": name,
                    "network": network,
                    "seed": seed,
                    "way": way,
                    "policy": policy,
                    "sparsities": list(sparsities),
                    "steps": steps,
                },
                depends_on(network),
                dense_networks(network, seed),
            )
            for name, (network, steps) in networks.items()
            for seed in seeds
            for way, of_way in policies.items()
            for policy in of_way
        ]

    def claims(self, rows: Rows, quick: bool) -> list[Claim]:
        """Of plain cuts, the papers' own."""
        return [
            claim for target in unique(rows, "target") for stage in STAGES for claim in _claims(rows, target, stage)
        ]

    def draw(self, rows: Rows, quick: bool) -> Figure:
        """Retained score against sparsity: a column for each target and way, a row for each stage."""
        columns = [(target, way) for target in unique(rows, "target") for way in unique(rows, "way")]
        figure = Figure(figsize=(1.2 + 3.0 * len(columns), 6.8), layout="constrained")
        panels = figure.subplots(len(STAGES), len(columns), sharex=True, sharey=True, squeeze=False)
        for across, (target, way) in enumerate(columns):
            for down, stage in enumerate(STAGES):
                axes = panels[down, across]
                axes.axhline(0, color="#888888", linewidth=0.8)
                for policy, (label, look) in POLICIES.items():
                    values = retained(rows, target, stage, way, policy)
                    if len(values):
                        _draw_curve(axes, sparsities_of(rows), values, label, look)
                axes.set_title(f"{target}\n{way}" if down == 0 else "")
            panels[-1, across].set_xlabel("sparsity [share of parameters]")
        for down, stage in enumerate(STAGES):
            panels[down, 0].set_ylabel(f"retained score\n{stage}")
        panels[0, 0].set_ylim(_LOWEST_SHOWN, 1.15)
        panels[0, 0].set_xticks([0, 0.2, 0.4, 0.6, 0.8], ["0 %", "20 %", "40 %", "60 %", "80 %"])
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
        note = "Mean over seeds and its 95 % interval; values below the lower edge are drawn at it."
        figure.supxlabel(note, fontsize=7.5, color="#555555")
        return figure

    def table(self, rows: Rows, quick: bool) -> str:
        """Mean retained and raw score at every sparsity."""
        parts = ["Mean retained score over seeds, and in brackets the mean score itself (return; -MSE)."]
        sparsities = sparsities_of(rows)
        for target in unique(rows, "target"):
            for way in unique(rows, "way"):
                lines = []
                for policy, (label, _) in POLICIES.items():
                    for stage in STAGES:
                        values = retained(rows, target, stage, way, policy)
                        if len(values):
                            raw = retained(rows, target, stage, way, policy, column="score").mean(axis=0)
                            cells = [f"{r:.2f} ({s:.4g})" for r, s in zip(values.mean(axis=0), raw, strict=True)]
                            lines.append([label, stage, *cells])
                header = ["policy", "stage", *(f"{s:.0%}" for s in sparsities)]
                parts += [f"**{target}, {way}**", markdown_table(header, lines)]
        return "\n\n".join(parts)


Networks = dict[str, tuple[dict[str, Any], int]]
"""Network and steps of fine-tuning by target."""


def _settings(quick: bool) -> tuple[Networks, tuple[float, ...], dict[str, tuple[str, ...]]]:
    """Networks, sparsities, and policies by way."""
    few = (VANILLA, AWARE, "fisher")
    if quick:
        networks: Networks = {
            "autoencoder, digits": (DIGITS, 50),
            "TD-MPC, pendulum": ({**PENDULUM, "dense_steps": 1200, "starts": 10}, 50),
        }
        return networks, (0.2, 0.4, 0.6, 0.8), {PLAIN: few}
    networks = {"autoencoder, digits": (DIGITS, 100), "TD-MPC, pendulum": (PENDULUM, 100)}
    sparsities = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    return networks, sparsities, {PLAIN: tuple(POLICIES), REPAIRED: few}


def sparsities_of(rows: Rows) -> np.ndarray:
    """The sparsities asked for, ascending, [S]."""
    return np.array(unique(rows, "sparsity"), dtype=float)


def retained(rows: Rows, target: str, stage: str, way: str, policy: str, column: str = "retained") -> np.ndarray:
    """Retained score, or another column, of one policy, [N, S]; [0] if it did not run."""
    wanted = {"target": target, "stage": stage, "way": way, "policy": policy}
    chosen = [row for row in rows if wanted.items() <= row.items()]
    table = {(row["seed"], row["sparsity"]): row[column] for row in chosen}
    return np.array(
        [[table[seed, s] for s in unique(rows, "sparsity")] for seed in unique(chosen, "seed")], dtype=float
    )


def steepest_fall(curves: np.ndarray, sparsities: np.ndarray) -> np.ndarray:
    """Largest loss of retained score within ten points of sparsity, [N, S] -> [N], from the dense network on.

    Between neighbours that lie further apart, the fall counts in proportion; what is below 0 is lost already.
    """
    values = np.concatenate([np.ones((len(curves), 1)), np.maximum(curves, 0.0)], axis=1)
    gaps = np.diff(sparsities, prepend=0.0)
    return np.asarray((-np.diff(values, axis=1) / np.maximum(gaps / 0.1, 1.0)).max(axis=1))


def _claims(rows: Rows, target: str, stage: str) -> list[Claim]:
    sparsities = sparsities_of(rows)
    curves = {p: found for p in POLICIES if len(found := retained(rows, target, stage, PLAIN, p))}
    asked = int(np.flatnonzero(np.isclose(sparsities, ASKED))[0])
    at_40 = {p: entry(over_seeds(curve), asked) for p, curve in curves.items()}
    falls = {p: steepest_fall(curve, sparsities) for p, curve in curves.items()}
    gentler = over_seeds(falls[VANILLA] - falls[AWARE])
    areas = {p: area_under_curve(values, sparsities) for p, values in curves.items()}
    leads = {p: over_seeds(area - areas[VANILLA]) for p, area in areas.items() if not p.startswith("depgraph")}
    where = f"{target} (not cartpole), {stage}"
    return [
        Claim(
            f"{SAID_OF}: the vanilla approach loses half of the reward at 40 % sparsity.",
            f"{where}: retained score {format_interval(at_40[VANILLA])} at 40 %",
            below(at_40[VANILLA], HALF),
            "Retained score of vanilla DepGraph (global) at 40 % sparsity, plain cuts: agrees if its interval lies "
            "below 0.5, disagrees if it lies above",
        ),
        Claim(
            f"{SAID_OF}: component-aware pruning declines gradually.",
            f"{where}: retained score {format_interval(at_40[AWARE])} at 40 %; steepest fall less than vanilla's by "
            f"{format_interval(gentler)} (" + ", ".join(f"{p} {fall.mean():.2f}" for p, fall in falls.items()) + ")",
            all_of([above(at_40[AWARE], HALF), above(gentler)]),
            "Component-aware by L2, plain cuts: agrees if the interval of its retained score at 40 % lies above "
            "0.5 and that of the difference of steepest falls above 0; disagrees if either lies below. A fall is the "
            "largest loss of retained score within ten points of sparsity, seed by seed",
        ),
        Claim(
            f"{SAID_OF}: component-aware pruning keeps more than vanilla pruning.",
            f"{where}: more than vanilla by "
            + ", ".join(f"{format_interval(lead)} ({p})" for p, lead in leads.items()),
            above(leads[AWARE]),
            "Area under the curve of retained score over sparsity, component-aware by L2 less vanilla (global), paired "
            "by seed, plain cuts: agrees if the interval lies above 0, disagrees if it lies below",
        ),
    ]


def _draw_curve(axes: Any, sparsities: np.ndarray, values: np.ndarray, label: str, look: dict[str, Any]) -> None:
    found = over_seeds(values)
    mean, low, high = (np.concatenate([[1.0], np.maximum(part, _LOWEST_SHOWN)]) for part in found)
    x = np.concatenate([[0.0], sparsities])
    axes.plot(x, mean, label=label, linewidth=1.6, markersize=4, clip_on=False, **look)
    if not np.isnan(low).any():
        axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
