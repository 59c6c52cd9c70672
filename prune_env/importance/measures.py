"""Importance measures, an open set: arXiv 2601.19794, section 3 (gradient, Fisher, Bayes), and three more.

A measure turns the gradients of one training step into a number for every channel and every group; the tracker smooths
it. A new one is a subclass of `Measure` and an entry of `MEASURES` (or a call of `register_measure`).

Letters: N entries, first all W present channels, then all G groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from prune_env.importance.config import ImportanceConfig
from prune_env.open_sets import add

REDUCED = {
    "mean_abs": "mean |g| over the parameters of the channel",
    "mean_square": "mean g^2 over the parameters of the channel",
    "weighted_abs": "|sum w g| over the parameters of the channel",
    "weighted_square": "sum (w g)^2 over the parameters of the channel",
}
"""Statistics that are reduced from the gradients; the others follow from them."""
STATISTICS = {**REDUCED, "weighted": "sum w g over the parameters of the channel, with its sign"}
"""What a measure can ask for: statistics of a channel in one step, from its gradients g and weights w. A group has the
mean over its channels."""


class Measure:
    """How important a channel or a group is, by one training step.

    Attributes:
        label: What tables and figures call it.
        meaning: What it measures, in words.
        statistics: Names of `STATISTICS` that it needs.
        signed: Whether it can be negative.
        accumulates: Whether the values of all steps are added up instead of smoothed.
    """

    label: ClassVar[str]
    meaning: ClassVar[str]
    statistics: ClassVar[tuple[str, ...]]
    signed: ClassVar[bool] = False
    accumulates: ClassVar[bool] = False

    def initial_state(self, entries: int, device: torch.device) -> dict[str, Tensor]:
        """What it remembers between steps, by name: tensors [N], which follow cuts, or of no dimension."""
        return {}

    def value(self, statistics: Mapping[str, Tensor], state: dict[str, Tensor], config: ImportanceConfig) -> Tensor:
        """The importance of every entry in this step, [N], before smoothing.

        Args:
            statistics: The statistics of this step by name, each [N].
            state: What the measure remembers; it is updated in place.
            config: Constants of the formulas.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement value(statistics, state, config)")


class Gradient(Measure):
    """I_grad = 1/N_g sum |g|."""

    label, meaning = "gradient", "mean |gradient|"
    statistics = ("mean_abs",)

    def value(self, statistics: Mapping[str, Tensor], state: dict[str, Tensor], config: ImportanceConfig) -> Tensor:
        """Mean |g|, [N]."""
        return statistics["mean_abs"]


class Fisher(Measure):
    """I_fisher = 1/N_g sum g^2, the diagonal of the empirical Fisher matrix, by batches."""

    label, meaning = "Fisher", "mean squared gradient"
    statistics = ("mean_square",)

    def value(self, statistics: Mapping[str, Tensor], state: dict[str, Tensor], config: ImportanceConfig) -> Tensor:
        """Mean g^2, [N]."""
        return statistics["mean_square"]


class Bayes(Measure):
    """I_bayes = log(1 + mu) * (1 + I_fisher), the paper's formula to the letter.

    alpha and beta are the shape and rate of a Gamma posterior of an exponential rate, which observes the gradient
    energy E_g = I_grad. mu = alpha / beta is the posterior mean of that *rate*, so it *falls* as gradient energy rises:
    the opposite of what the paper's text says of it. `BayesCorrected` rises.
    """

    label, meaning = "Bayes, literal", "Bayes importance, the paper's formula to the letter"
    statistics = ("mean_abs", "mean_square")

    def initial_state(self, entries: int, device: torch.device) -> dict[str, Tensor]:
        """The prior, alpha = beta = 1; in single precision, small energies would be lost beside it."""
        return {
            "alpha": torch.ones((), dtype=torch.float64, device=device),
            "beta": torch.ones(entries, dtype=torch.float64, device=device),
        }

    def value(self, statistics: Mapping[str, Tensor], state: dict[str, Tensor], config: ImportanceConfig) -> Tensor:
        """Update the posterior: alpha += kappa, beta += kappa * E_g / eta; then log(1 + mu) * (1 + I_fisher), [N]."""
        state["alpha"] += config.kappa
        state["beta"] += config.kappa * statistics["mean_abs"] / config.eta
        fisher = statistics["mean_square"]
        return torch.log1p_(self.mean(state["alpha"], state["beta"])).mul_(1.0 + fisher).to(fisher.dtype)

    def mean(self, alpha: Tensor, beta: Tensor) -> Tensor:
        """Mu of a posterior."""
        return alpha / beta


class BayesCorrected(Bayes):
    """The same with mu = beta / alpha, the posterior scale of the gradient energy, which rises with it."""

    label, meaning = "Bayes, corrected", "Bayes importance with the scale of the gradient energy in place of its rate"

    def mean(self, alpha: Tensor, beta: Tensor) -> Tensor:
        """Mu of a posterior."""
        return beta / alpha


class Taylor(Measure):
    """|sum w g|: first-order change of the loss when the weights become zero (Molchanov et al., arXiv 1906.10771)."""

    label, meaning = "Taylor", "|sum of weight x gradient|"
    statistics = ("weighted_abs",)

    def value(self, statistics: Mapping[str, Tensor], state: dict[str, Tensor], config: ImportanceConfig) -> Tensor:
        """|sum w g|, [N]."""
        return statistics["weighted_abs"]


class FisherWeight(Measure):
    """Sum g^2 w^2: the Fisher estimate of the loss when the weights become zero (Theis et al., arXiv 1801.05787)."""

    label, meaning = "Fisher x w²", "sum of squared gradient x squared weight"
    statistics = ("weighted_square",)

    def value(self, statistics: Mapping[str, Tensor], state: dict[str, Tensor], config: ImportanceConfig) -> Tensor:
        """Sum (w g)^2, [N]."""
        return statistics["weighted_square"]


class Movement(Measure):
    """-sum w g, added up over training (Sanh et al. 2020, arXiv 2005.07683, equation 4, with learning rate 1).

    It is positive where training moved the weights away from zero. Gradients of the L1 term belong to the total loss.
    """

    label, meaning = "movement", "sum of -weight x gradient over training"
    statistics = ("weighted",)
    signed = accumulates = True

    def value(self, statistics: Mapping[str, Tensor], state: dict[str, Tensor], config: ImportanceConfig) -> Tensor:
        """-sum w g, [N]."""
        return -statistics["weighted"]


MEASURES: dict[str, Measure] = {
    "gradient": Gradient(),
    "fisher": Fisher(),
    "bayes": Bayes(),
    "bayes_corrected": BayesCorrected(),
    "taylor": Taylor(),
    "fisher_weight": FisherWeight(),
    "movement": Movement(),
}
"""Name -> measure."""

PAPER_MEASURES = ("gradient", "fisher", "bayes")
"""Those of the paper, which an environment shows by default."""


def register_measure(name: str, measure: Measure) -> None:
    """Make a measure known by name: environments can show it, and a heuristic can follow it.

    Raises:
        ValueError: If the name is taken by another measure, or the measure needs a statistic that does not exist.
    """
    if not name.isidentifier() or name == "ema":
        raise ValueError(f"a measure is named by an identifier other than 'ema', got {name!r}")
    if unknown := sorted(set(measure.statistics) - set(STATISTICS)):
        raise ValueError(f"measure {name!r} needs the statistics {unknown}; known: {', '.join(STATISTICS)}")
    add("measure", name, measure, MEASURES)
