"""The three hypotheses of arXiv 2601.19794 (§4.3.2) and its verdicts on them (§5), by rank statistics over seeds.

H1: coupling groups matter most. H2: early groups matter most. H3: importance is static.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prune_env.benchmark.plot_style import AGENT_COLOURS, MARKERS
from prune_env.studies.core import (
    Claim,
    Job,
    Row,
    Rows,
    Study,
    format_interval,
    markdown_table,
    over_seeds,
    permutation_p,
    rank_correlation,
)
from prune_env.studies.importance_shift.hypotheses_claims import (
    NAMES,
    coupling_claim,
    early_claim,
    static_importance_claim,
    values_of,
)
from prune_env.studies.importance_shift.networks import Network, autoencoders, controllers, trajectory_jobs
from prune_env.studies.importance_shift.rank_shift import (
    WINDOW,
    merge_q_networks,
    shift_statistics,
)
from prune_env.studies.importance_shift.ranks import (
    HOLD,
    Array,
    curves,
    lagged_tau,
    network_of,
    networks,
    rank,
)
from prune_env.studies.importance_shift.trajectory import COLUMNS, LABELS

PAPER_ENCODER = 3
"""Encoder groups of the paper's controller; networks with fewer have no order within the encoder to judge."""
LAGS = (1, 2, 5, 10, 20, 50)
"""[epochs]"""


class Hypotheses(Study):
    """H1, H2 and H3 for the networks of figures 1 to 4."""

    name = "hypotheses"
    title = "The three hypotheses: what ranks say"
    data_from = ("fig1", "fig3")

    def setting(self, quick: bool) -> str:
        """What is tested, and on what."""
        which = "; ".join(f"{NAMES[n.target]}, {n.setting}: {n.shown} epochs" for n in _networks(quick))
        return (
            "The trajectories of figures 1 and 3 (see there for the setting"
            f"{', the quick one' if quick else ''}): {which}. All epochs count. All statistics are of ranks, for each "
            "measure and network, unless another is named; intervals are Student's 95 % intervals over seeds.\n\n"
            "§4.3.2 states three hypotheses of earlier pruning strategies, and §5 judges them. The statements below "
            "are the paper's verdicts, so *agrees* means that the data here say the same of the hypothesis. Its "
            "single sentences are judged with the figures that they are about: [1](../fig1/page.md), "
            "[2](../fig2/page.md), [3](../fig3/page.md), [4](../fig4/page.md), and the controller [of the paper's "
            "size](../importance-paper/page.md).\n\n"
            "- **H1**, coupling groups are the most critical, whatever their size: the mean rank of the coupling group "
            "(1 is the most important). §5.1: conditional, true of latents 8 and 64 and not of 512; §5.2: contradicted "
            "by TD-MPC.\n"
            "- **H2**, groups at the initial stages are essential: Spearman's correlation of importance with the "
            "number of weighted layers up to the group, and how often exchanged groups would give as much (p). §5.1: "
            "strongly refuted; §5.2: partial support, as the encoder is the most important component but its later "
            "groups are above its earlier ones. For this, the lead of the encoder (mean log-importance of its groups "
            "less that of the best other component) and the rise within it (last encoder group less the first).\n"
            f"- **H3**, importance is static: Kendall's tau between the orders at the beginning and at the end, each "
            f"averaged over a {WINDOW}th of the epochs, against that between neighbouring times; also crossovers "
            f"that last at least {HOLD} epochs. TD-MPC's two Q-networks are exchangeable, and count once. §5.1: "
            "appears valid for highly constrained models, not for those of higher capacity; §5.2: not strictly static."
        )

    def jobs(self, quick: bool, seeds: Sequence[int]) -> list[Job]:
        """The trajectories of figures 1 to 4."""
        return trajectory_jobs(_networks(quick), seeds)

    def data(self, rows: Rows, quick: bool) -> Rows:
        """One row for each statistic, network, seed and measure; and for each p-value, which is of all seeds."""
        found = networks(rows)
        seeds = sorted({seed for _, _, seed in found})
        result: Rows = []
        for network in _networks(quick):
            for measure in COLUMNS:
                mine = [_shown(network, found[network.target, network.setting, seed]) for seed in seeds]
                result += [row for shown in mine for row in _statistics(network, shown, measure)]
                result.append(_position_p(network, mine, measure))
        return result

    def claims(self, rows: Rows, quick: bool) -> list[Claim]:
        """A verdict for each hypothesis, target and measure."""
        return [
            claim(rows, target, measure)
            for claim in (coupling_claim, early_claim, static_importance_claim)
            for target in NAMES
            for measure in COLUMNS
        ]

    def draw(self, rows: Rows, quick: bool) -> Figure | None:
        """A row for each target, a column for each hypothesis."""
        figure = Figure(figsize=(12.5, 7), layout="constrained")
        panels = figure.subplots(2, 3, gridspec_kw={"width_ratios": (4, 4, 3)})
        for line, (target, name) in zip(panels, NAMES.items(), strict=True):
            mine = [r for r in rows if r["target"] == target]
            _draw_settings(line[0], mine, "normalised rank")
            _draw_settings(line[1], mine, "position")
            _draw_lags(line[2], mine)
            line[0].set_ylim(-0.05, 1.05)
            line[0].set_ylabel(f"{name}\ncoupling group's rank [1 = first, 0 = last]")
            line[1].axhline(0, color="#888888", linewidth=0.8)
            line[1].set_ylim(-1.05, 1.05)
            line[1].set_ylabel("Spearman's correlation with position")
            line[2].set_ylabel("Kendall's tau with the order before")
            line[2].set_xlabel("epochs in between")
        titles = (
            "H1: coupling groups matter most (1)",
            "H2: early groups matter most (-1)",
            "H3: importance is static (1)",
        )
        for axes, title in zip(panels[0], titles, strict=True):
            axes.set_title(title)
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        return figure

    def table(self, rows: Rows, quick: bool) -> str:
        """Statistics of every network size."""
        parts = []
        for statistic, words in _TABLES.items():
            having = [r for r in rows if r["statistic"] == statistic]
            settings = list(dict.fromkeys((str(r["target"]), str(r["setting"])) for r in having))
            table = [
                [
                    f"{NAMES[t]}, {s}",
                    *(format_interval(over_seeds(values_of(rows, statistic, m, t, s))) for m in COLUMNS),
                ]
                for t, s in settings
            ]
            parts.append(f"{words}:\n\n" + markdown_table(("network", *(LABELS[m] for m in COLUMNS)), table))
        return "\n\n".join(parts)


_TABLES = {
    "rank": "Rank of the coupling group as the network grows (1 is the most important)",
    "position": "Spearman's correlation of importance with position",
    "encoder lead": "Mean log-importance of the encoder's groups less that of the best other component",
    "encoder rise": "Log-importance of the last encoder group less that of the first, where there are three",
    "tau": "Kendall's tau between the orders at the beginning and at the end",
    "neighbouring tau": "The same between neighbouring times, which is what noise leaves",
    "early crossovers": "Crossovers in the first fifth of the epochs, per pair of groups and hundred epochs",
    "later crossovers": "Crossovers after it, per pair of groups and hundred epochs",
}


def _networks(quick: bool) -> list[Network]:
    return autoencoders(quick) + controllers(quick)


def _shown(network: Network, rows: Rows) -> Rows:
    """The groups of one network, and their importance as far as the figure of all sizes shows it."""
    return [r for r in rows if r["kind"] == "group" or (r["kind"] == "importance" and int(r["epoch"]) <= network.shown)]


def _statistics(network: Network, rows: Rows, measure: str) -> Rows:
    """The statistics of one network, seed and measure."""
    groups, _, all_values = curves(rows, measure)
    described = {str(r["group"]): r for r in rows if r["kind"] == "group"}
    coupling = [bool(described[g]["coupling"]) for g in groups]
    values = np.log(all_values)
    own = float(rank(values)[:, coupling].mean())
    statistics = {
        "rank": own,
        "normalised rank": (len(groups) - own) / (len(groups) - 1),
        "position": float(rank_correlation(values.mean(axis=0), _positions(rows, groups))),
        **_encoder_statistics(groups, coupling, values.mean(axis=0)),
        **shift_statistics(groups, all_values),
    }
    target, setting, seed = network_of(rows[0])
    common: Row = {"target": target, "setting": setting, "size": network.size, "seed": seed, "measure": measure}
    result: Rows = [{"statistic": name, **common, "value": value} for name, value in statistics.items()]
    merged = merge_q_networks(groups, values)
    result += [
        {"statistic": "lagged tau", **common, "value": lagged_tau(merged, lag), "lag": lag}
        for lag in LAGS
        if lag < len(values)
    ]
    return result


def _encoder_statistics(groups: Sequence[str], coupling: Sequence[bool], means: Array) -> dict[str, float]:
    """How far the encoder is above the other components, and its last group above its first, from mean logs [G]."""
    of_component: dict[str, list[float]] = {}
    for group, couples, mean in zip(groups, coupling, means, strict=True):
        if not couples:
            of_component.setdefault(group.partition(".")[0], []).append(float(mean))
    encoder = of_component.pop("encoder")
    found = {"encoder lead": float(np.mean(encoder) - max(np.mean(own) for own in of_component.values()))}
    return found | ({"encoder rise": encoder[-1] - encoder[0]} if len(encoder) == PAPER_ENCODER else {})


def _position_p(network: Network, of_seeds: Sequence[Rows], measure: str) -> Row:
    """How often exchanged groups correlate as much with position as the groups of all seeds do."""
    found = [curves(rows, measure) for rows in of_seeds]
    means = [np.log(values).mean(axis=0) for _, _, values in found]
    value = permutation_p(means, _positions(of_seeds[0], found[0][0]))
    common: Row = {"target": network.target, "setting": network.setting, "size": network.size, "seed": "all"}
    return {"statistic": "position p", **common, "measure": measure, "value": value}


def _positions(rows: Rows, groups: Sequence[str]) -> list[float]:
    described = {str(r["group"]): r for r in rows if r["kind"] == "group"}
    return [float(described[g]["position"]) for g in groups]


# ---------------------------------------------------------------------- the picture
def _draw_settings(axes: Axes, rows: Rows, statistic: str) -> None:
    """Means over seeds and their intervals, network by network."""
    target = str(rows[0]["target"])
    settings = list(dict.fromkeys(str(r["setting"]) for r in rows))
    for i, measure in enumerate(COLUMNS):
        intervals = [over_seeds(values_of(rows, statistic, measure, target, s)) for s in settings]
        x = np.arange(len(settings)) + 0.12 * (i - 1.5)
        value, low, high = np.transpose(intervals)
        axes.plot(x, value, color=AGENT_COLOURS[i], marker=MARKERS[i], linestyle="none", label=LABELS[measure])
        axes.vlines(x, low, high, color=AGENT_COLOURS[i], linewidth=2, alpha=0.6)
    axes.set_xticks(range(len(settings)), [s.replace(", ", ",\n") for s in settings])
    axes.set_xlim(-0.5, len(settings) - 0.5)


def _draw_lags(axes: Axes, rows: Rows) -> None:
    """Mean over networks of tau at every lag, with the range over networks."""
    found = [r for r in rows if r["statistic"] == "lagged tau"]
    lags = sorted({int(r["lag"]) for r in found})
    for i, measure in enumerate(COLUMNS):
        values: list[Array] = [
            np.array([float(r["value"]) for r in found if r["measure"] == measure and r["lag"] == lag]) for lag in lags
        ]
        dash = "--" if measure == COLUMNS[-1] else "-"  # the two forms of Bayes lie on each other
        look: dict[str, Any] = {"color": AGENT_COLOURS[i], "marker": MARKERS[i], "markersize": 4, "linestyle": dash}
        axes.plot(lags, [v.mean() for v in values], **look)
        axes.fill_between(
            lags, [v.min() for v in values], [v.max() for v in values], color=AGENT_COLOURS[i], alpha=0.1, linewidth=0
        )
    axes.set_xscale("log")
    axes.set_xticks(lags, [str(lag) for lag in lags], minor=False)
    axes.minorticks_off()
    axes.set_ylim(top=1.03)
