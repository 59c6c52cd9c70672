"""Figures 1 to 4 of arXiv 2601.19794: the importance of every group while a network learns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from prune_env.studies.core import Claim, Job, Rows, Study, above, format_interval, markdown_table, over_settings
from prune_env.studies.importance_shift.autoencoder_sentences import sentences_of_long_training, sentences_of_sizes
from prune_env.studies.importance_shift.controller_sentences import Controllers
from prune_env.studies.importance_shift.importance_plots import draw_crossovers, draw_importance
from prune_env.studies.importance_shift.networks import IMAGES, Network, autoencoders, controllers, trajectory_jobs
from prune_env.studies.importance_shift.orders import Followed
from prune_env.studies.importance_shift.ranks import EARLY, HOLD, curves, networks, tau
from prune_env.studies.importance_shift.trajectory import BAYES, BAYES_SAYS, COLUMNS, LABELS

_AUTOENCODER = (
    "Autoencoders of the paper's widths (784 inputs, three hidden layers, linear in between) on real MNIST, at a "
    "constant learning rate of 0.001 with cosine-L1 on. Smaller than the paper's: the first "
    f"{IMAGES:,} training images, so that an epoch is {IMAGES // 256} steps of 256 images (the whole of MNIST would be "
    "226)."
)
_AUTOENCODER_QUICK = (
    "Quick setting: autoencoders on the 1,197 8x8 training digits of scikit-learn, with latents of 4, 8, 16 and 32 for "
    "the paper's 8, 64, 256 and 512; an epoch is 18 steps of 64 images."
)
_CONTROLLER = (
    "TD-MPC on Pendulum with the recipes of `prune_env.targets.tdmpc`, cosine-L1 on. An epoch is two new episodes of "
    "the controller as it then is, and 100 updates. Smaller than the paper's network of 1,548,360 parameters, which "
    "reads 84x84 colour frames: 64 channels wide from the state, 128 from pixels (32x32, gray). The paper (§4.1.2) "
    "names Gym's inverted pendulum from pixels; the reward of 858.6 in 125 steps that its Table 1 prints is one of "
    "cartpole swing-up, as returns of Gym's pendulum are negative. encoder_1 to encoder_3 are read as the three "
    "encoder groups of the network from pixels, dynamics_1 as dynamics.2, reward_1 as reward.2. §5.2 states its orders "
    "of gradient and Fisher (its Figure 3), and the decline of reward_1 of Bayes (its Figure 4); orders are judged by "
    "all measures here."
)
_MEASURES = (
    "Each value is the moving average (decay 0.9 a step) of a measure at the end of an epoch, a mean over the "
    "parameters of the group's root layer. *Bayes, literal* is the paper's formula; *Bayes, corrected* has the "
    "posterior scale in place of the rate. Lines are geometric means over seeds, bands their range."
)


class ImportanceFigure(Study):
    """Importance of every group over the epochs, for all sizes or for one that is trained for long.

    Args:
        name: Of the study.
        title: Of the page.
        family: The networks of the full and of the quick setting.
        long: Show only the network that is trained for longest, whole, with crossovers; else all, up to `shown`.
        words: What the networks are, in the full and in the quick setting.
        sentences: The claims of the paper that the figure is about, from its rows.
    """

    def __init__(
        self,
        name: str,
        title: str,
        family: Callable[[bool], list[Network]],
        long: bool,
        words: tuple[str, str],
        sentences: Callable[[Rows], list[Claim]],
    ):
        self.name, self.title, self.family, self.long, self.words = name, title, family, long, words
        self.sentences = sentences

    def setting(self, quick: bool) -> str:
        """What is run."""
        lengths = ", ".join(f"{n.setting}: {self._length(n)} epochs" for n in self._networks(quick))
        marks = (
            f"\n\nRings mark crossovers of the seeds' mean: two groups change their order for at least {HOLD} epochs. "
            f"The first {EARLY:.0%} of the epochs are shaded. Which of TD-MPC's two Q-networks is ahead is chance; the "
            "verdicts count them once."
            if self.long
            else ""
        )
        return f"{self.words[quick]} Trained are {lengths}.\n\n{_MEASURES}{marks}"

    def jobs(self, quick: bool, seeds: Sequence[int]) -> list[Job]:
        """One for each network and seed."""
        return trajectory_jobs(self._networks(quick), seeds)

    def data(self, rows: Rows, quick: bool) -> Rows:
        """The trajectories, as far as the figure shows them."""
        return [
            row
            for network in self._networks(quick)
            for row in rows
            if row["setting"] == network.setting
            and (row["kind"] != "importance" or int(row["epoch"]) <= self._length(network))
        ]

    def claims(self, rows: Rows, quick: bool) -> list[Claim]:
        """The paper's sentences on the figure, and what it says of Bayes."""
        return self.sentences(rows) + [_bayes_follows(rows, measure) for measure in BAYES]

    def draw(self, rows: Rows, quick: bool) -> Figure | None:
        """Importance, and the ranks if crossovers are marked."""
        return (draw_crossovers if self.long else draw_importance)(rows, self.title)

    def table(self, rows: Rows, quick: bool) -> str:
        """Importance and rank of every group at the end, and the test metrics."""
        return "\n\n".join([_spread(rows), _final_importance(rows), _scores(rows)])

    def _networks(self, quick: bool) -> list[Network]:
        family = self.family(quick)
        longest = max(n.epochs for n in family)
        return [n for n in family if n.epochs == longest] if self.long else family

    def _length(self, network: Network) -> int:
        return network.epochs if self.long else network.shown


def _bayes_follows(rows: Rows, measure: str) -> Claim:
    """Does Bayes rank groups as their gradients do?"""
    strata: dict[str, list[float]] = {}
    for (_, setting, _), found in networks(rows).items():
        bayes, gradient = (np.log(curves(found, m)[2]).mean(axis=0) for m in (measure, "gradient"))
        strata.setdefault(setting, []).append(float(tau(bayes, gradient)))
    interval = over_settings(list(strata.values()))
    return Claim(
        paper=f"{BAYES_SAYS} ({LABELS[measure]}).",
        measured=f"Kendall's tau with the gradient measure: {format_interval(interval)}",
        verdict=above(interval),
        rule="agrees if the 95 % interval of the tau between the orders by Bayes and by gradient, both averaged over "
        "all epochs, lies above 0, disagrees if below",
    )


def _spread(rows: Rows) -> str:
    """How far apart a measure holds the groups."""
    ratios = {}
    for measure in COLUMNS:
        last = [curves(found, measure)[2][-1] for found in networks(rows).values()]
        ratios[measure] = np.median([values.max() / values.min() for values in last])
    table = [[LABELS[measure], f"{ratio:.4g}"] for measure, ratio in ratios.items()]
    return (
        "How far apart the measures hold groups: the largest importance over the smallest at the last epoch shown, "
        "median over networks.\n\n" + markdown_table(("measure", "largest over smallest"), table)
    )


def _final_importance(rows: Rows) -> str:
    """Mean over seeds of the importance at the last epoch, with the rank (1 is the most important)."""
    settings = dict.fromkeys(str(r["setting"]) for r in rows)
    header = ("network", "group", "channels", "parameters of the root", *(LABELS[c] for c in COLUMNS))
    table: list[list[object]] = []
    for setting in settings:
        mine = [r for r in rows if r["setting"] == setting]
        groups = {str(r["group"]): r for r in mine if r["kind"] == "group"}
        columns = []
        for measure in COLUMNS:
            last = np.log([curves(found, measure)[2][-1] for found in networks(mine).values()]).mean(axis=0)
            ranks = (-last).argsort().argsort() + 1
            columns.append([f"{np.exp(v):.3g} ({r})" for v, r in zip(last, ranks, strict=True)])
        for i, (name, row) in enumerate(groups.items()):
            label = f"{name} (coupling)" if row["coupling"] else name
            table.append([setting, label, row["channels"], f"{row['parameters']:,}", *(c[i] for c in columns)])
    return "Importance at the last epoch shown, geometric mean over seeds, and rank:\n\n" + markdown_table(
        header, table
    )


def _scores(rows: Rows) -> str:
    """Test metrics of the trained networks, mean and range over seeds."""
    found: dict[tuple[str, int, str], list[float]] = {}
    for r in rows:
        if r["kind"] == "score":
            found.setdefault((str(r["setting"]), int(r["epoch"]), str(r["metric"])), []).append(float(r["value"]))
    table = [
        [setting, epochs, metric, f"{np.mean(v):.4g}", f"{min(v):.4g} to {max(v):.4g}", len(v)]
        for (setting, epochs, metric), v in found.items()
    ]
    header = ("network", "epochs trained", "test metric", "mean", "range", "seeds")
    return "What the networks had learnt in the end:\n\n" + markdown_table(header, table)


def _three_in_order(network: Followed) -> list[str] | None:
    """The encoder groups, if there are three as in the paper."""
    found = network.component("encoder")
    return found if len(found) == 3 else None


_CONTROLLERS = Controllers(_three_in_order)


def _all_controllers(rows: Rows) -> list[Claim]:
    return _CONTROLLERS.orders(rows) + _CONTROLLERS.changes(rows)


_AE_WORDS, _TDMPC_WORDS = (_AUTOENCODER, _AUTOENCODER_QUICK), (_CONTROLLER, f"Quick setting. {_CONTROLLER}")
FIGURES = (
    ImportanceFigure(
        "fig1",
        "Figure 1: importance in autoencoders of four sizes",
        autoencoders,
        False,
        _AE_WORDS,
        sentences_of_sizes,
    ),
    ImportanceFigure(
        "fig2",
        "Figure 2: the largest autoencoder, trained for longer",
        autoencoders,
        True,
        _AE_WORDS,
        sentences_of_long_training,
    ),
    ImportanceFigure("fig3", "Figure 3: importance in TD-MPC", controllers, False, _TDMPC_WORDS, _all_controllers),
    ImportanceFigure(
        "fig4", "Figure 4: TD-MPC, trained for longer", controllers, True, _TDMPC_WORDS, _CONTROLLERS.changes
    ),
)
