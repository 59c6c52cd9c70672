"""Figures 3 and 4 of arXiv 2601.19794 at the paper's size: importance recorded while the controller that ships learned.

The recording, `paper_size_run.jsonl`, has the groups in its first line, then a line for every epoch of 125 updates: the
smoothed importance of every group, to five digits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from prune_env.studies.core import Claim, Job, Rows, Study, markdown_table
from prune_env.studies.importance_shift.controller_sentences import Controllers
from prune_env.studies.importance_shift.importance_plots import draw_crossovers
from prune_env.studies.importance_shift.parameter_counts import count_controller
from prune_env.studies.importance_shift.ranks import curves, rank, tau
from prune_env.studies.importance_shift.trajectory import BAYES, BAYES_SAYS, COLUMNS, LABELS

RECORDING = Path(__file__).with_name("paper_size_run.jsonl")
SETTING = "cartpole from 84x84 pixels"
UPDATES_PER_EPOCH = 125
ENCODER = ("encoder.3", "encoder.5", "encoder.7")
"""The paper's encoder_1, encoder_2 and encoder_3, by the parameters of Table 2; it does not list our encoder.1."""
CONTROLLERS = Controllers(lambda _: ENCODER, least=1)
FOLLOWS = 0.5
"""Kendall's tau from which one order follows another."""


def recorded() -> Rows:
    """The recording as the rows of `trajectory`, with the channels and parameters of the groups."""
    lines = [json.loads(line) for line in RECORDING.read_text().splitlines()]
    described = {row["name"]: row for row in count_controller() if row["kind"] == "group"}
    network = {"target": "tdmpc", "setting": SETTING, "seed": 0}
    rows: Rows = [
        {"kind": "group", **network, "group": name, **{k: described[name][k] for k in ("coupling", "channels")}}
        | {"parameters": described[name]["parameters"]}
        for name in lines[0]["groups"]
    ]
    for line in lines[1:]:
        epoch = line["step"] // UPDATES_PER_EPOCH
        rows += [
            {"kind": "importance", **network, "group": name, "epoch": epoch} | {c: line[c][g] for c in COLUMNS}
            for g, name in enumerate(lines[0]["groups"])
        ]
    return rows


class PaperSizeRun(Study):
    """Importance in the training of the paper-size controller."""

    name = "importance-paper"
    title = "Figures 3 and 4 at the paper's size: importance while the controller learned"
    seeds = quick_seeds = (0,)

    def setting(self, quick: bool) -> str:
        """What was recorded, and what one run cannot say."""
        return (
            "The controller is that of the paper (1,548,360 parameters, cartpole swing-up from pixels), and the run "
            "the one whose best network ships with the package: 13,500 updates on a GPU, see [its "
            "training](../../tdmpc/paper_size.md). An epoch is 125 updates; each value is the moving average (decay "
            "0.9 an update) at its end. Nothing is trained here: the recording is a file of the package.\n\n"
            "It is *one* run, so there are no intervals over seeds. Orders are judged by the share of the epochs at "
            "which they hold; neighbouring epochs are not independent. The paper's groups are found by the parameter "
            "counts of its Table 2: encoder_1 to 3 are encoder.3, encoder.5 and encoder.7, dynamics_1 is dynamics.2, "
            "reward_1 is reward.2; the encoder's first layer, encoder.1, is in no row of it. Its coupling groups are "
            "made of layers that read the latent, which are component groups here; ours is the latent itself. §5.2 "
            "states its orders of gradient and Fisher, and the decline of reward_1 of Bayes; orders are judged by all "
            "measures here."
        )

    def jobs(self, quick: bool, seeds: Sequence[int]) -> list[Job]:
        """Reading the recording."""
        return [Job(recorded, {})]

    def claims(self, rows: Rows, quick: bool) -> list[Claim]:
        """The paper's sentences on TD-MPC in §5.2, by stated rules."""
        return [
            *CONTROLLERS.orders(rows),
            *CONTROLLERS.changes(rows),
            *(_follows(rows, measure) for measure in BAYES),
        ]

    def draw(self, rows: Rows, quick: bool) -> Figure | None:
        """Importance and ranks over the epochs."""
        return draw_crossovers(rows, self.title)

    def table(self, rows: Rows, quick: bool) -> str:
        """Importance at the end and mean rank."""
        described = {str(r["group"]): r for r in rows if r["kind"] == "group"}
        columns = []
        for measure in COLUMNS:
            _, _, values = curves(rows, measure)
            ranks = rank(values).mean(axis=0)
            columns.append([f"{v:.3g} ({r:.1f})" for v, r in zip(values[-1], ranks, strict=True)])
        lines = [
            [
                f"{name} (coupling)" if row["coupling"] else name,
                row["channels"],
                f"{row['parameters']:,}",
                *(column[g] for column in columns),
            ]
            for g, (name, row) in enumerate(described.items())
        ]
        header = ("group", "channels", "parameters of the root", *(LABELS[c] for c in COLUMNS))
        return "Importance at the last epoch, and in brackets the mean rank over all epochs:\n\n" + markdown_table(
            header, lines
        )


def _follows(rows: Rows, measure: str) -> Claim:
    bayes, gradient = (np.log(curves(rows, m)[2]).mean(axis=0) for m in (measure, "gradient"))
    found = float(tau(bayes, gradient))
    return Claim(
        f"{BAYES_SAYS} ({LABELS[measure]}).",
        f"Kendall's tau with the gradient measure: {found:.2f}",
        "agrees" if found > FOLLOWS else "disagrees" if found < -FOLLOWS else "cannot be decided",
        f"agrees if the tau between the orders by Bayes and by gradient, both averaged over all epochs, is above "
        f"{FOLLOWS}, disagrees below -{FOLLOWS}",
    )
