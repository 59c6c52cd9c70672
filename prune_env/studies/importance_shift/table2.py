"""Table 2 of arXiv 2601.19794: the groups and the sizes of their root layers, beside the paper's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from matplotlib.figure import Figure

from prune_env.benchmark.plot_style import AGENT_COLOURS
from prune_env.studies.core import Claim, Job, Row, Rows, Study, markdown_table
from prune_env.studies.importance_shift.parameter_counts import PAPER_AUTOENCODER, size_jobs

COMPONENT, COUPLING = "component", "coupling"


class Printed(NamedTuple):
    """A row of the paper's table, and the groups of ours whose root layers it can be.

    Attributes:
        group: Component and number.
        kind: As the paper sorts it.
        modules: How many the paper counts.
        parameters: As the paper counts them.
        ours: Groups whose root layers have that many parameters together.
    """

    group: str
    kind: str
    modules: int
    parameters: int
    ours: tuple[str, ...]


PRINTED = {
    PAPER_AUTOENCODER: (
        Printed("Encoder 1", COMPONENT, 8, 202_148, ("encoder.6",)),
        Printed("Encoder 2", COMPONENT, 4, 339_560, ("encoder.3",)),
        Printed("Decoder 1", COMPONENT, 8, 339_692, ("decoder.6",)),
        Printed("Decoder 2", COMPONENT, 4, 202_280, ("decoder.3",)),
        Printed("Encoder-Decoder 1", COUPLING, 1, 99_584, ("encoder.9",)),
    ),
    "TD-MPC": (
        Printed("Encoder 1", COMPONENT, 1, 25_632, ("encoder.3",)),
        Printed("Encoder 2", COMPONENT, 1, 9_248, ("encoder.5",)),
        Printed("Encoder 3", COMPONENT, 1, 9_248, ("encoder.7",)),
        Printed("Dynamics 1", COMPONENT, 1, 262_656, ("dynamics.2",)),
        Printed("Reward 1", COMPONENT, 1, 262_656, ("reward.2",)),
        Printed("Pi 1", COMPONENT, 1, 262_656, ("pi.2",)),
        Printed("Q1 1", COMPONENT, 1, 262_656, ("q1.3",)),
        Printed("Q2 1", COMPONENT, 1, 262_656, ("q2.3",)),
        Printed("Encoder-Pi 1", COUPLING, 2, 26_112, ("pi.0",)),
        Printed("EncoderPi-Dyn.Rew.Q1Q2 1", COUPLING, 5, 369_152, ("pi.2", "dynamics.0", "reward.0", "q1.0", "q2.0")),
    ),
}
"""The whole of the paper's table, by our name of the network. Its last row is the sum of four layers that read latent
and action, and of one of 262,656."""
WHOLE = {PAPER_AUTOENCODER: 2_312_992, "TD-MPC": 1_548_360}
"""Parameters of the networks in Table 1 of the paper."""


class Table2(Study):
    """The groups and the parameters of their root layers."""

    name = "table2"
    title = "Table 2: the groups"

    def setting(self, quick: bool) -> str:
        """What is counted."""
        return (
            "The groups that are discovered in the autoencoder with latent 256 and in TD-MPC from 84x84 pixels, at the "
            "paper's full sizes in every setting (nothing is trained). The paper's parameters are the weights and "
            "biases of the root layers that are named beside them. A dash marks groups that are in no row of the paper."
        )

    def jobs(self, quick: bool, seeds: Sequence[int]) -> list[Job]:
        """Counts."""
        return [job for job in size_jobs() if job.arguments.get("latent", 256) == 256]

    def claims(self, rows: Rows, quick: bool) -> list[Claim]:
        """Every row of the paper, how many there are, their modules, and the sum of the parameters."""
        result = []
        for network, printed in PRINTED.items():
            result += [
                claim for row in printed for claim in (_parameters(rows, network, row), _kind(rows, network, row))
            ]
            result += [_modules(rows, network), _number(rows, network), _sum(rows, network)]
        return result

    def draw(self, rows: Rows, quick: bool) -> Figure | None:
        """Parameters of root layers, with the paper's numbers."""
        figure = Figure(figsize=(11, 4), layout="constrained")
        for axes, (network, printed) in zip(figure.subplots(1, 2), PRINTED.items(), strict=True):
            groups = _groups(rows, network)
            paper = {row.ours[0]: row.parameters for row in printed if len(row.ours) == 1}
            for y, r in enumerate(groups):
                colour = "black" if r["coupling"] else AGENT_COLOURS[1]
                axes.barh(y, int(r["parameters"]), color=colour, height=0.6)
                if str(r["name"]) in paper:
                    axes.plot([paper[str(r["name"])]] * 2, [y - 0.42, y + 0.42], color=AGENT_COLOURS[0], linewidth=2.5)
            axes.set_yticks(range(len(groups)), [str(r["name"]) for r in groups])
            axes.invert_yaxis()
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.set_xlabel("parameters of the root layer")
            axes.set_title(network)
        axes.plot([], [], color=AGENT_COLOURS[0], linewidth=2.5, label="the paper's number, of rows of one layer")
        axes.barh(0, 0, color="black", label="coupling group")
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
        return figure

    def table(self, rows: Rows, quick: bool) -> str:
        """The paper's rows beside our groups, then every group."""
        return "\n\n".join([_beside(rows), "Every group that is discovered:", _every_group(rows)])


def _parameters(rows: Rows, network: str, row: Printed) -> Claim:
    roots = _roots(rows, network)
    found = sum(roots.get(name, 0) for name in row.ours)
    return Claim(
        f"{network}: group {row.group} has {row.parameters:,} parameters",
        f"root layer{'s' if len(row.ours) > 1 else ''} of {' + '.join(row.ours)}: {found:,}",
        "agrees" if found == row.parameters else "disagrees",
        "agrees if these root layers have as many together",
    )


def _kind(rows: Rows, network: str, row: Printed) -> Claim:
    kinds = list(dict.fromkeys(_kind_of(r) for r in _groups(rows, network) if r["name"] in row.ours))
    return Claim(
        f"{network}: {row.group} is a {row.kind} group",
        f"{', '.join(row.ours)}: {' and '.join(kinds)} group{'s' if len(row.ours) > 1 else ''}",
        "agrees" if kinds == [row.kind] else "disagrees",
        "agrees if the groups of these layers are of that kind; a coupling group has members in several components",
    )


def _modules(rows: Rows, network: str) -> Claim:
    members = {str(r["name"]): int(r["members"]) for r in _groups(rows, network)}
    pairs = [(row, sum(members.get(name, 0) for name in row.ours)) for row in PRINTED[network]]
    return Claim(
        f"{network}: the groups have {', '.join(str(row.modules) for row, _ in pairs)} modules",
        f"layers in the groups of the same root layers: {', '.join(str(found) for _, found in pairs)}",
        "agrees" if all(row.modules == found for row, found in pairs) else "disagrees",
        "agrees if all are equal; here a member is a layer that is cut with the group, those that read it included",
    )


def _number(rows: Rows, network: str) -> Claim:
    printed, groups = PRINTED[network], _groups(rows, network)
    listed = {name for row in printed for name in row.ours}
    unlisted = [f"{r['name']} ({int(r['parameters']):,})" for r in groups if r["name"] not in listed]
    return Claim(
        f"{network}: there are {len(printed)} groups, {sum(row.kind == COUPLING for row in printed)} of them coupling",
        f"{len(groups)} groups, {sum(bool(r['coupling']) for r in groups)} of them coupling; in no row of the paper: "
        f"{', '.join(unlisted) or 'none'}",
        "agrees" if len(printed) == len(groups) else "disagrees",
        "agrees if as many groups are discovered",
    )


def _sum(rows: Rows, network: str) -> Claim:
    printed, whole = sum(row.parameters for row in PRINTED[network]), _total(rows, network)
    names = [name for row in PRINTED[network] for name in row.ours]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    counted = f"; {', '.join(twice)} is in two rows" if twice else ""
    return Claim(
        f"{network}: the rows of Table 2 are parts of the network of {WHOLE[network]:,} parameters in Table 1",
        f"they sum to {printed:,}, {abs(printed - whole):,} {'more' if printed > whole else 'less'} than the network "
        f"has{counted}",
        "disagrees" if printed > whole else "agrees",
        "disagrees if the rows sum to more than the network has, so that they cannot be separate parts of it",
    )


def _beside(rows: Rows) -> str:
    """Row by row, what of ours a row of the paper can be."""
    table = []
    for network, printed in PRINTED.items():
        ours = _roots(rows, network)
        for row in printed:
            layers = " + ".join(f"{name} {ours.get(name, 0):,}" for name in row.ours)
            found = sum(ours.get(name, 0) for name in row.ours)
            table.append([network, row.group, row.kind, row.modules, f"{row.parameters:,}", layers, f"{found:,}"])
    header = ("network", "the paper's group", "kind", "modules", "parameters", "root layers of our groups", "their sum")
    return (
        "The paper's rows beside ours:\n\n"
        + markdown_table(header, table)
        + "\n\n"
        + _decided(rows)
        + " encoder.10 is our one coupling group of TD-MPC, the latent itself: it goes together with the inputs of "
        "dynamics, reward, pi, q1 and q2. In the paper layers that read the latent are members of coupling groups; "
        "here each of them is a component group of its own hidden channels."
    )


def _decided(rows: Rows) -> str:
    """Which of our layers the row of five modules can be, by trying all sets of five."""
    ours, row = _roots(rows, "TD-MPC"), PRINTED["TD-MPC"][-1]
    found = [names for names in combinations(ours, row.modules) if sum(ours[n] for n in names) == row.parameters]
    shared = [name for name in ours if found and all(name in names for names in found)]
    others = list(dict.fromkeys(name for names in found for name in names if name not in shared))
    return (
        f"Of all sets of {row.modules} root layers of TD-MPC, {len(found)} have the {row.parameters:,} parameters of "
        f"{row.group}: {', '.join(shared)} with one of {', '.join(others)}. Each of the latter has a row of its own, "
        "so whichever it is, the paper counts it twice, and without it its rows sum to "
        f"{sum(r.parameters for r in PRINTED['TD-MPC']) - ours.get('pi.2', 0):,}."
    )


def _every_group(rows: Rows) -> str:
    header = ("network", "group", "kind", "channels", "layers in it", "parameters of the root", "the paper's group")
    table = []
    for network, printed in PRINTED.items():
        for r in _groups(rows, network):
            listed = ", ".join(row.group for row in printed if r["name"] in row.ours)
            cells = (r["network"], r["name"], _kind_of(r), r["channels"], r["members"], f"{r['parameters']:,}")
            table.append([*cells, listed or "-"])
    return markdown_table(header, table)


def _groups(rows: Rows, network: str) -> Rows:
    return [r for r in rows if r["kind"] == "group" and r["network"] == network]


def _kind_of(row: Row) -> str:
    return COUPLING if row["coupling"] else COMPONENT


def _roots(rows: Rows, network: str) -> dict[str, int]:
    return {str(r["name"]): int(r["parameters"]) for r in _groups(rows, network)}


def _total(rows: Rows, network: str) -> int:
    return next(int(r["parameters"]) for r in rows if r["kind"] == "total" and r["network"] == network)
