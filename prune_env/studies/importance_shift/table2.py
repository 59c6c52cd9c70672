"""Table 2 of arXiv 2601.19794: the groups and the sizes of their root layers, beside the paper's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from prune_env.benchmark.plot_style import AGENT_COLOURS
from prune_env.studies.core import Claim, Job, Rows, Study, markdown_table
from prune_env.studies.importance_shift.parameter_counts import PAPER_AUTOENCODER, size_jobs

AUTOENCODER_GROUPS = {
    "encoder.3": 339_560,
    "encoder.6": 202_148,
    "encoder.9": 99_584,
    "decoder.3": 202_280,
    "decoder.6": 339_692,
}
CONTROLLER_GROUPS = (
    {"encoder.3": 25_632, "encoder.5": 9_248, "encoder.7": 9_248, "pi.0": 26_112}
    | dict.fromkeys(("dynamics.2", "reward.2", "pi.2", "q1.3", "q2.3"), 262_656)
    | dict.fromkeys(("dynamics.0", "reward.0", "q1.0", "q2.0"), 26_624)
)
"""The paper's numbers by the layer that they can belong to; it does not list the others."""
PAPER = {PAPER_AUTOENCODER: AUTOENCODER_GROUPS, "TD-MPC": CONTROLLER_GROUPS}


class Printed(NamedTuple):
    """A row of the paper's table for TD-MPC, and the groups of ours whose root layers it can be."""

    group: str
    modules: int
    parameters: int
    ours: tuple[str, ...]


PRINTED = (
    Printed("Encoder 1", 1, 25_632, ("encoder.3",)),
    Printed("Encoder 2", 1, 9_248, ("encoder.5",)),
    Printed("Encoder 3", 1, 9_248, ("encoder.7",)),
    Printed("Dynamics 1", 1, 262_656, ("dynamics.2",)),
    Printed("Reward 1", 1, 262_656, ("reward.2",)),
    Printed("Pi 1", 1, 262_656, ("pi.2",)),
    Printed("Q1 1", 1, 262_656, ("q1.3",)),
    Printed("Q2 1", 1, 262_656, ("q2.3",)),
    Printed("Encoder-Pi 1 (coupling)", 2, 26_112, ("pi.0",)),
    Printed("EncoderPi-Dyn.Rew.Q1Q2 1 (coupling)", 5, 369_152, ("pi.2", "dynamics.0", "reward.0", "q1.0", "q2.0")),
)
"""The whole of the paper's TD-MPC half. Its last row is the sum of four layers that read latent and action and of one
of 262,656, which its row "Pi 1" has already."""


class Table2(Study):
    """The groups and the parameters of their root layers."""

    name = "table2"
    title = "Table 2: the groups"

    def setting(self, quick: bool) -> str:
        """What is counted."""
        return (
            "The groups that are discovered in the autoencoder with latent 256 and in TD-MPC from 84x84 pixels, at the "
            "paper's full sizes in every setting (nothing is trained). The paper counts weight and bias of a group's "
            "root layer. A dash marks groups for which we know no number of the paper's."
        )

    def jobs(self, quick: bool, seeds: Sequence[int]) -> list[Job]:
        """Counts."""
        return [job for job in size_jobs() if job.arguments.get("latent", 256) == 256]

    def claims(self, rows: Rows, quick: bool) -> list[Claim]:
        """Every number of the paper that we know, and the sum of its rows."""
        result = []
        for network, paper in PAPER.items():
            ours = _roots(rows, network)
            for number in dict.fromkeys(paper.values()):
                layers = [name for name, n in paper.items() if n == number]
                found = [ours.get(name, 0) for name in layers]
                result.append(
                    Claim(
                        f"{network}: {number:,} parameters in {', '.join(layers)}",
                        ", ".join(f"{n:,}" for n in dict.fromkeys(found)),
                        "agrees" if set(found) == {number} else "disagrees",
                        "agrees if all these root layers have that many",
                    )
                )
        total, roots = _total(rows, "TD-MPC"), sum(_roots(rows, "TD-MPC").values())
        printed = sum(row.parameters for row in PRINTED)
        result.append(
            Claim(
                "(Said of the paper, not by it.) Its rows of TD-MPC sum to more than its total of 1,548,360",
                f"its ten rows sum to {printed:,}, as EncoderPi-Dyn.Rew.Q1Q2 seems to count the layer of Pi 1 again; "
                f"the root layers of our {len(_roots(rows, 'TD-MPC'))} groups sum to {roots:,}, and the other "
                f"{total - roots:,} parameters are in output layers and LayerNorm, which are the root of no group",
                "agrees" if printed > total else "disagrees",
                "agrees if its rows sum to more than the network has",
            )
        )
        return result

    def draw(self, rows: Rows, quick: bool) -> Figure | None:
        """Parameters of root layers, with the paper's numbers."""
        figure = Figure(figsize=(11, 4), layout="constrained")
        for axes, (network, paper) in zip(figure.subplots(1, 2), PAPER.items(), strict=True):
            groups = [r for r in rows if r["kind"] == "group" and r["network"] == network]
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
        axes.plot([], [], color=AGENT_COLOURS[0], linewidth=2.5, label="the paper's number")
        axes.barh(0, 0, color="black", label="coupling group")
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
        return figure

    def table(self, rows: Rows, quick: bool) -> str:
        """The paper's rows beside our groups, then every group."""
        return "\n\n".join([_beside(rows), "Every group that is discovered:", _every_group(rows)])


def _beside(rows: Rows) -> str:
    """Row by row, what of ours a row of the paper can be."""
    ours = _roots(rows, "TD-MPC")
    table = []
    for row in PRINTED:
        layers = " + ".join(f"{name} {ours.get(name, 0):,}" for name in row.ours)
        found = sum(ours.get(name, 0) for name in row.ours)
        table.append([row.group, row.modules, f"{row.parameters:,}", layers, f"{found:,}"])
    unlisted = [f"{name} {n:,}" for name, n in ours.items() if not any(name in row.ours for row in PRINTED)]
    header = ("the paper's group", "modules", "parameters", "root layers of our groups", "their sum")
    return (
        "TD-MPC, the paper's rows beside ours:\n\n"
        + markdown_table(header, table)
        + f"\n\nIn no row of the paper: {', '.join(unlisted)}. encoder.10 is our one coupling group, the latent "
        "itself: it goes together with the inputs of dynamics, reward, pi, q1 and q2. In the paper layers that read "
        "the latent are members of coupling groups; here each of them is a component group of its own hidden channels."
    )


def _every_group(rows: Rows) -> str:
    header = ("network", "group", "kind", "channels", "layers in it", "parameters of the root", "the paper's")
    table = []
    for network, paper in PAPER.items():
        for r in rows:
            if r["kind"] == "group" and r["network"] == network:
                number = paper.get(str(r["name"]))
                kind = "coupling" if r["coupling"] else "component"
                cells = (r["network"], r["name"], kind, r["channels"], r["members"], f"{r['parameters']:,}")
                table.append([*cells, f"{number:,}" if number else "-"])
    return markdown_table(header, table)


def _roots(rows: Rows, network: str) -> dict[str, int]:
    return {str(r["name"]): int(r["parameters"]) for r in rows if r["kind"] == "group" and r["network"] == network}


def _total(rows: Rows, network: str) -> int:
    return next(int(r["parameters"]) for r in rows if r["kind"] == "total" and r["network"] == network)
