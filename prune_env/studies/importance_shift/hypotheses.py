"""The three hypotheses of arXiv 2601.19794, tested by rank statistics over seeds and measures.

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
    CHANCE,
    Claim,
    Interval,
    Job,
    Row,
    Rows,
    Study,
    Verdict,
    below,
    format_interval,
    markdown_table,
    over_seeds,
    permutation_p,
    rank_correlation,
    unanimous,
)
from prune_env.studies.importance_shift.networks import Network, autoencoders, controllers, trajectory_jobs
from prune_env.studies.importance_shift.rank_shift import WINDOW, merge_q_networks, shift_statistics, shifting_claim
from prune_env.studies.importance_shift.ranks import (
    HOLD,
    WARM_UP,
    Array,
    after_warm_up,
    curves,
    lagged_tau,
    network_of,
    networks,
    rank,
)
from prune_env.studies.importance_shift.trajectory import COLUMNS, LABELS

FIRST = 1.5
"""A mean rank below this is nearer to the first place than to the second."""
LAGS = (1, 2, 5, 10, 20, 50)
"""[epochs]"""

_NAMES = {"autoencoder": "autoencoder", "tdmpc": "TD-MPC"}


class Hypotheses(Study):
    """H1, H2 and H3 for the networks of figures 1 to 4."""

    name = "hypotheses"
    title = "The three hypotheses: what ranks say"
    data_from = ("fig1", "fig3")

    def setting(self, quick: bool) -> str:
        """What is tested, and on what."""
        which = "; ".join(f"{_NAMES[n.target]}, {n.setting}: {n.shown} epochs" for n in _networks(quick))
        return (
            "The trajectories of figures 1 and 3 (see there for the setting"
            f"{', the quick one' if quick else ''}): {which}. The first {WARM_UP:.0%} of the epochs are left out. All "
            "statistics are of ranks, for each measure and network; intervals are Student's 95 % intervals over "
            "seeds. Sizes of a network are read each by itself: H1 and H2 are decided if they are for every size, and "
            "alike.\n\n"
            "- **H1**, coupling groups matter most: the mean rank of the coupling group (1 is the most important).\n"
            "- **H2**, early groups matter most: Spearman's correlation of importance with the number of weighted "
            "layers up to the group, and how often exchanged groups would give as much (p).\n"
            f"- **H3**, importance is static: Kendall's tau between the order just after the warm-up and the last one, "
            f"each averaged over a {WINDOW}th of the epochs, against that between neighbouring times; also crossovers "
            f"that last at least {HOLD} epochs. TD-MPC's twin values q1 and q2 are exchangeable, and count once.\n\n"
            "Of the paper we know the abstract and the hypotheses: it reports structural dependencies and dynamic "
            "shifts in importance that static heuristics miss, so it rejects H3. Its verdicts on H1 and H2 are not "
            "known to us; there, the verdict is about the hypothesis."
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
            for claim in (_first, _early, _shifting)
            for target in _NAMES
            for measure in COLUMNS
        ]

    def draw(self, rows: Rows, quick: bool) -> Figure | None:
        """A row for each target, a column for each hypothesis."""
        figure = Figure(figsize=(12.5, 7), layout="constrained")
        panels = figure.subplots(2, 3, gridspec_kw={"width_ratios": (4, 4, 3)})
        for line, (target, name) in zip(panels, _NAMES.items(), strict=True):
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
            settings = list(dict.fromkeys((str(r["target"]), str(r["setting"])) for r in rows))
            table = [
                [
                    f"{_NAMES[t]}, {s}",
                    *(format_interval(over_seeds(_values(rows, statistic, m, t, s))) for m in COLUMNS),
                ]
                for t, s in settings
            ]
            parts.append(f"{words}:\n\n" + markdown_table(("network", *(LABELS[m] for m in COLUMNS)), table))
        return "\n\n".join(parts)


_TABLES = {
    "rank": "Rank of the coupling group as the network grows (1 is the most important)",
    "position": "Spearman's correlation of importance with position",
    "tau": "Kendall's tau between the order after the warm-up and the last one",
    "neighbouring tau": "The same between neighbouring times, which is what noise leaves",
    "crossovers": "Crossovers after the warm-up, per pair of groups and hundred epochs",
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
    values = after_warm_up(np.log(all_values))
    own = float(rank(values)[:, coupling].mean())
    statistics = {
        "rank": own,
        "normalised rank": (len(groups) - own) / (len(groups) - 1),
        "position": float(rank_correlation(values.mean(axis=0), _positions(rows, groups))),
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


def _position_p(network: Network, of_seeds: Sequence[Rows], measure: str) -> Row:
    """How often exchanged groups correlate as much with position as the groups of all seeds do."""
    found = [curves(rows, measure) for rows in of_seeds]
    means = [after_warm_up(np.log(values)).mean(axis=0) for _, _, values in found]
    value = permutation_p(means, _positions(of_seeds[0], found[0][0]))
    common: Row = {"target": network.target, "setting": network.setting, "size": network.size, "seed": "all"}
    return {"statistic": "position p", **common, "measure": measure, "value": value}


def _positions(rows: Rows, groups: Sequence[str]) -> list[float]:
    described = {str(r["group"]): r for r in rows if r["kind"] == "group"}
    return [float(described[g]["position"]) for g in groups]


# ---------------------------------------------------------------------- verdicts
def _values(rows: Rows, statistic: str, measure: str, target: str, setting: str) -> list[float]:
    return [
        float(r["value"])
        for r in rows
        if (r["statistic"], r["measure"], r["target"], r["setting"]) == (statistic, measure, target, setting)
    ]


def _sizes(rows: Rows, target: str) -> list[str]:
    return list(dict.fromkeys(str(r["setting"]) for r in rows if r["target"] == target))


def _strata(rows: Rows, statistic: str, measure: str, target: str) -> list[list[float]]:
    return [_values(rows, statistic, measure, target, setting) for setting in _sizes(rows, target)]


def _first(rows: Rows, target: str, measure: str) -> Claim:
    found = {s: over_seeds(_values(rows, "rank", measure, target, s)) for s in _sizes(rows, target)}
    return Claim(
        paper=f"H1: coupling groups matter most (hypothesis; {_NAMES[target]}, {LABELS[measure]})",
        measured="mean rank of the coupling group: "
        + "; ".join(f"{s}: {format_interval(i)}" for s, i in found.items()),
        verdict=unanimous([below(interval, FIRST) for interval in found.values()]),
        rule=f"agrees if for every size the 95 % interval lies below {FIRST}, nearer to the first place than to the "
        "second; disagrees if above for every size",
    )


def _early(rows: Rows, target: str, measure: str) -> Claim:
    found = {s: over_seeds(_values(rows, "position", measure, target, s)) for s in _sizes(rows, target)}
    chances = {s: _values(rows, "position p", measure, target, s)[0] for s in found}
    return Claim(
        paper=f"H2: early groups matter most (hypothesis; {_NAMES[target]}, {LABELS[measure]})",
        measured="Spearman's correlation with position: "
        + "; ".join(f"{s}: {format_interval(i)}, p = {chances[s]:.2g}" for s, i in found.items()),
        verdict=unanimous([_beyond_chance(interval, chances[s]) for s, interval in found.items()]),
        rule=f"agrees if for every size the 95 % interval lies below 0 and p is below {CHANCE}, disagrees if above and "
        "p as small",
    )


def _beyond_chance(interval: Interval, p: float) -> Verdict:
    return below(interval) if p < CHANCE else "cannot be decided"


def _shifting(rows: Rows, target: str, measure: str) -> Claim:
    found = {name: _strata(rows, name, measure, target) for name in ("tau", "neighbouring tau", "crossovers")}
    return shifting_claim(f"{_NAMES[target]}, {LABELS[measure]}", found)


# ---------------------------------------------------------------------- the picture
def _draw_settings(axes: Axes, rows: Rows, statistic: str) -> None:
    """Means over seeds and their intervals, network by network."""
    target = str(rows[0]["target"])
    settings = list(dict.fromkeys(str(r["setting"]) for r in rows))
    for i, measure in enumerate(COLUMNS):
        intervals = [over_seeds(_values(rows, statistic, measure, target, s)) for s in settings]
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
