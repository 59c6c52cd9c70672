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
from scipy.stats import spearmanr

from prune_env.studies.core import Claim, Job, Rows, Study, Verdict, markdown_table
from prune_env.studies.importance_shift.importance_plots import draw_crossovers
from prune_env.studies.importance_shift.parameter_counts import count_controller
from prune_env.studies.importance_shift.rank_shift import shift_statistics, shifting_claim
from prune_env.studies.importance_shift.ranks import Array, after_warm_up, curves, rank, tau
from prune_env.studies.importance_shift.trajectory import BAYES, COLUMNS, LABELS

RECORDING = Path(__file__).with_name("paper_size_run.jsonl")
SETTING = "cartpole from 84x84 pixels"
UPDATES_PER_EPOCH = 125
ENCODER = ("encoder.3", "encoder.5", "encoder.7")
"""The paper's encoder_1, encoder_2 and encoder_3, by the parameters of Table 2; it does not list our encoder.1."""
DYNAMICS, REWARD = "dynamics.2", "reward.2"
COUPLINGS = {
    "our coupling group": ("encoder.10",),
    "the paper's coupling layers": ("pi.0", "dynamics.0", "reward.0", "q1.0", "q2.0"),
}
MOST, FEW = 0.9, 0.5
"""Shares of the epochs after the warm-up at which an order must hold, and below which it does not."""
STEADY = 0.9
"""Spearman's correlation with time from which a change is steady."""


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
            "It is *one* run, so there are no intervals over seeds. Orders are judged by the share of the epochs after "
            "the warm-up (the first fifth) at which they hold; neighbouring epochs are not independent. The paper's "
            "groups are found by the parameter counts of its Table 2: encoder_1 to 3 are encoder.3, encoder.5 and "
            "encoder.7, dynamics_1 is dynamics.2, reward_1 is reward.2. Its coupling groups are made of layers that "
            "read the latent, which are component groups here; ours is the latent itself."
        )

    def jobs(self, quick: bool, seeds: Sequence[int]) -> list[Job]:
        """Reading the recording."""
        return [Job(recorded, {})]

    def claims(self, rows: Rows, quick: bool) -> list[Claim]:
        """The paper's sentences on TD-MPC in §5.2, by stated rules."""
        result = []
        for measure in COLUMNS:
            groups, _, values = curves(rows, measure)
            logs = after_warm_up(np.log(np.maximum(values, 1e-30)))
            result += [*_orders(groups, logs, measure), _reward_last(groups, logs, measure)]
        result += [_reward_declines(rows, measure) for measure in BAYES]
        result += [_shifts(rows, measure) for measure in COLUMNS]
        result += [_follows(rows, measure) for measure in BAYES]
        return result

    def draw(self, rows: Rows, quick: bool) -> Figure | None:
        """Importance and ranks over the epochs."""
        return draw_crossovers(rows, self.title)

    def table(self, rows: Rows, quick: bool) -> str:
        """Importance at the end and mean rank after the warm-up."""
        described = {str(r["group"]): r for r in rows if r["kind"] == "group"}
        columns = []
        for measure in COLUMNS:
            _, _, values = curves(rows, measure)
            ranks = rank(after_warm_up(values)).mean(axis=0)
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
        return "Importance at the last epoch, and in brackets the mean rank after the warm-up:\n\n" + markdown_table(
            header, lines
        )


def _orders(groups: Sequence[str], logs: Array, measure: str) -> list[Claim]:
    """Encoder above coupling, and above the first layers, [E, G] logarithms after the warm-up."""
    encoder = _mean(groups, logs, ENCODER)
    compared = {
        f"The encoder groups are more important than the coupling groups ({words})": (encoder, _mean(groups, logs, of))
        for words, of in COUPLINGS.items()
    }
    later = np.minimum(*(_mean(groups, logs, (name,)) for name in ENCODER[1:]))
    earlier = np.maximum(*(_mean(groups, logs, (name,)) for name in (ENCODER[0], DYNAMICS)))
    compared["encoder_2 and encoder_3 rank above encoder_1 and dynamics_1"] = later, earlier
    return [
        Claim(
            f"{words} ({LABELS[measure]}).",
            f"at {(first > second).mean():.0%} of the epochs after the warm-up; by a factor of "
            f"{np.exp((first - second).mean()):.2g} on average",
            _by_share(float((first > second).mean())),
            "Means of logarithms over the groups of a kind, or the lowest of the first against the highest of the "
            f"second: agrees if the order holds at {MOST:.0%} of the epochs or more, disagrees below {FEW:.0%}",
        )
        for words, (first, second) in compared.items()
    ]


def _reward_last(groups: Sequence[str], logs: Array, measure: str) -> Claim:
    last = logs.argmin(axis=1) == groups.index(REWARD)
    mean = rank(logs).mean(axis=0)[groups.index(REWARD)]
    return Claim(
        f"reward_1 is consistently the least important ({LABELS[measure]}).",
        f"last at {last.mean():.0%} of the epochs after the warm-up; mean rank {mean:.1f} of {len(groups)}",
        _by_share(float(last.mean())),
        f"agrees if it is last at {MOST:.0%} of the epochs or more, disagrees below {FEW:.0%}",
    )


def _reward_declines(rows: Rows, measure: str) -> Claim:
    groups, _, values = curves(rows, measure)
    kept = after_warm_up(values)[:, groups.index(REWARD)]
    trend = float(spearmanr(np.arange(len(kept)), kept).statistic)
    verdict: Verdict = "agrees" if trend <= -STEADY else "disagrees" if trend >= 0 else "cannot be decided"
    return Claim(
        f"The Bayesian importance of reward_1 declines steadily over time ({LABELS[measure]}).",
        f"from {kept[0]:.4g} to {kept[-1]:.4g}; Spearman's correlation with time {trend:.2f}",
        verdict,
        f"agrees if the correlation after the warm-up is at most -{STEADY}, disagrees if it is not negative",
    )


def _shifts(rows: Rows, measure: str) -> Claim:
    groups, _, values = curves(rows, measure)
    return shifting_claim(
        LABELS[measure], {name: [[value]] for name, value in shift_statistics(groups, values).items()}
    )


def _follows(rows: Rows, measure: str) -> Claim:
    bayes, gradient = (np.log(curves(rows, m)[2]).mean(axis=0) for m in (measure, "gradient"))
    found = float(tau(bayes, gradient))
    return Claim(
        f"Bayes puts first the groups that are sensitive now and were active before ({LABELS[measure]})",
        f"Kendall's tau with the gradient measure: {found:.2f}",
        "agrees" if found > FEW else "disagrees" if found < -FEW else "cannot be decided",
        f"agrees if the tau between the orders by Bayes and by gradient, both averaged over all epochs, is above "
        f"{FEW}, disagrees below -{FEW}",
    )


def _mean(groups: Sequence[str], logs: Array, names: Sequence[str]) -> Array:
    """Mean over some groups, [E]."""
    return np.asarray(logs[:, [groups.index(name) for name in names]].mean(axis=1))


def _by_share(share: float) -> Verdict:
    return "agrees" if share >= MOST else "disagrees" if share < FEW else "cannot be decided"
