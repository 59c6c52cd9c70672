"""What happens within an episode: from an action to a cut, repaired, trained and scored network.

Letters: G groups, W present channels of all groups, flat in group order, B batch of width vectors.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from prune_env.dense.pool import Network
from prune_env.envs.action import choose_channels, project, widths_after
from prune_env.envs.objectives import Terms
from prune_env.importance import Criterion
from prune_env.parallel import one_thread
from prune_env.repair import Repair
from prune_env.targets import Split
from prune_env.training import train

COLLAPSED = -1.0
"""Retained score of a network whose loss or score is not finite; also the least retained score there is."""


@dataclass(frozen=True)
class Rules:
    """What is the same in every episode of an environment; see `PruningEnv` for the meaning of the fields."""

    rounds: int
    steps_per_round: int
    budget_unit: str
    criterion: Criterion
    repair: Repair
    component_weights: Mapping[str, float]
    min_channels: int
    round_to: int


@dataclass
class Seconds:
    """Time spent so far [s]; never in `info`, which must repeat itself."""

    training: float = 0.0
    scoring: float = 0.0
    total: float = 0.0


class Episode:
    """One dense network on its way to a smaller one.

    Args:
        network: A restored, dense network.
        rules: Of the environment.
        budget: Sparsity to end at, or None.
        generator: Draws batches, and channels for the random criterion.
        seconds: Where time is added up.

    Raises:
        ValueError: If the budget cannot be reached.
    """

    def __init__(
        self, network: Network, rules: Rules, budget: float | None, generator: torch.Generator, seconds: Seconds
    ):
        self.network, self.rules, self.budget, self.seconds = network, rules, budget, seconds
        self.round = 0
        self.evaluations = 0
        """Trials that a privileged policy has asked for."""
        self.generator = generator
        self._batches = network.train_state.target.batches(generator)
        self._dense_cost = float(getattr(network.cost.dense, rules.budget_unit))
        self._weights = _group_weights(network, rules.component_weights)
        self.executed_ratio = np.zeros(len(self.widths))
        self.terms = self._terms(1.0)
        if budget is not None:
            deepest = 1.0 - float(self.cost_of(self.least_widths)) / self._dense_cost
            if deepest < budget:
                raise ValueError(
                    f"budget {budget} cannot be reached: with {rules.min_channels} channel(s) in every group the "
                    f"sparsity of {network.label!r} is {deepest:.4f}"
                )

    # ------------------------------------------------------------------ reading
    @property
    def widths(self) -> np.ndarray:
        """Present channels of each group, int [G]."""
        return self.network.train_state.surgeon.widths.numpy()

    @property
    def least_widths(self) -> np.ndarray:
        """Channels that must stay in each group, int [G]."""
        least = self.network.train_state.surgeon.grouping.least
        return np.minimum(self.widths, np.maximum(least, self.rules.min_channels))

    @property
    def over(self) -> bool:
        """Whether all rounds are done, or the network collapsed."""
        return self.round >= self.rules.rounds or self.terms.retained < 0

    @property
    def cost_target(self) -> float | None:
        """The cost that this round has to end at, on a geometric schedule towards the budget; None without a budget."""
        if self.budget is None:
            return None
        return (1.0 - self.budget) ** ((self.round + 1) / self.rules.rounds) * self._dense_cost

    def cost_of(self, widths: np.ndarray) -> np.ndarray:
        """Cost in the budget's unit at widths int [B, G] or [G], exactly as counted on the cut network."""
        return getattr(self.network.cost(widths), self.rules.budget_unit)

    def widths_for(self, ratios: np.ndarray) -> np.ndarray:
        """Channels of each group that stay when this action is taken now, int [G]."""
        ratios = 1.0 - (1.0 - ratios) ** (1.0 / self._weights)
        if self.cost_target is None:
            return widths_after(ratios, self.widths, self.least_widths, self.rules.round_to)
        return project(ratios, self.widths, self.cost_of, self.cost_target, self.least_widths, self.rules.round_to)

    @one_thread()
    def retained(self, split: Split) -> float:
        """Retained score of the network as it stands, at least `COLLAPSED`."""
        floor, dense = self.network.score_scale(split)
        score = self.network.train_state.target.score(self.network.train_state.model, split)
        return max((score - floor) / (dense - floor), COLLAPSED) if math.isfinite(score) else COLLAPSED

    # ------------------------------------------------------------------ doing
    def play(self, ratios: np.ndarray) -> None:
        """One round: cut, repair, train, score."""
        begun = time.perf_counter()
        before = self.widths
        self._cut(self.widths_for(ratios))
        self.executed_ratio = 1.0 - self.widths / before
        self.terms = self._terms(self._train_and_score())
        self.round += 1
        self.seconds.total += time.perf_counter() - begun

    @one_thread()
    def try_out(self, ratios: np.ndarray, seed: int) -> float:
        """Retained score on validation if this action were taken now; everything is put back, the trial is counted.

        Args:
            ratios: The action, [G].
            seed: Of the trial's own batches: nobody sees those of the real round.
        """
        train_state, generator, batches = self.network.train_state, self.generator, self._batches
        memory = train_state.snapshot()
        self.evaluations += 1
        self.generator = torch.Generator().manual_seed(seed)
        self._batches = train_state.target.batches(self.generator)
        try:
            self._cut(self.widths_for(ratios))
            return self._train_and_score()
        finally:
            train_state.restore(memory)
            self.generator, self._batches = generator, batches

    def _cut(self, widths: np.ndarray) -> None:
        train_state = self.network.train_state
        values = self.rules.criterion.values(train_state.context(self.generator)).cpu().numpy()
        keep = torch.from_numpy(choose_channels(values, train_state.surgeon.group_of.numpy(), self.widths - widths))
        begun = time.perf_counter()
        self.rules.repair.before_cut(train_state.target, train_state.surgeon, keep, self._batches)
        self.seconds.training += time.perf_counter() - begun
        train_state.surgeon.cut(keep)
        for observer in train_state.observers:
            observer.after_surgery(keep)

    def _train_and_score(self) -> float:
        train_state = self.network.train_state
        begun = time.perf_counter()
        self.rules.repair.after_cut(train_state.target, train_state.model, self._batches)
        steps = self.rules.steps_per_round
        loss = train(
            train_state.target, train_state.model, train_state.optimizers, self._batches, steps, train_state.observers
        )
        trained = time.perf_counter()
        retained = self.retained("validation") if math.isfinite(loss) else COLLAPSED
        self.seconds.training += trained - begun
        self.seconds.scoring += time.perf_counter() - trained
        return retained

    def _terms(self, retained: float) -> Terms:
        cost, dense = self.network.cost(self.widths), self.network.cost.dense
        sparsities = {
            "parameters": 1.0 - float(cost.parameters) / float(dense.parameters),
            "macs": 1.0 - float(cost.macs) / float(dense.macs),
        }
        return Terms(
            retained=retained,
            sparsity=sparsities["parameters"],
            sparsity_macs=sparsities["macs"],
            budget=self.budget or 0.0,
            budget_sparsity=sparsities[self.rules.budget_unit],
            macs=float(cost.macs),
        )


def _group_weights(network: Network, weights: Mapping[str, float]) -> np.ndarray:
    """The largest weight of each group's components, [G]; 1 for those without."""
    components = network.train_state.target.components
    unknown = sorted(set(weights) - set(components))
    if unknown:
        raise ValueError(f"component_weights name {unknown}; the components are {', '.join(components)}")
    if any(not 0 < weight < math.inf for weight in weights.values()):
        raise ValueError(f"component_weights must be positive and finite; got {dict(weights)}")
    grouping = network.train_state.surgeon.grouping
    return np.array([max(weights.get(name, 1.0) for name in group.components) for group in grouping])
