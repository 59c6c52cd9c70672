"""One episode: from an action to a network that is cut, repaired, trained and scored.

Letters: G groups, W present channels of all groups, flat in group order, B batch of width vectors.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from prune_env.dense import Network
from prune_env.envs.action import choose_channels, least_widths, project, widths_after
from prune_env.envs.batches import Batches
from prune_env.envs.config import PruningConfig
from prune_env.envs.objectives import Terms
from prune_env.envs.schedules import SCHEDULES
from prune_env.fine_tuning import FINE_TUNINGS, FineTuning
from prune_env.gates import ChannelGates, GateRule
from prune_env.importance import CRITERIA, ImportanceTracker
from prune_env.importance.gated_loss import gated_loss
from prune_env.isolation import isolated, own_random_state
from prune_env.open_sets import configured
from prune_env.repair import REPAIRS
from prune_env.targets import Split
from prune_env.training import train
from prune_env.validation import Range, check_value

_POSITIVE = Range(0, ends="()")
COLLAPSED = -1.0
"""Retained score of a network whose loss or score is not finite; also the least retained score there is."""


@dataclass
class Seconds:
    """Time spent so far [s]; never in `info`, which must repeat itself."""

    training: float = 0.0
    scoring: float = 0.0
    total: float = 0.0


class Trial(NamedTuple):
    """A trial cut, which a privileged policy asked for.

    Attributes:
        retained: Retained score on validation data.
        steps: Training steps after the cut.
        counts: Whether it is what the round could be: as many steps as a round trains, and within the budget.
        round: Rounds that were over.
    """

    retained: float
    steps: int
    counts: bool
    round: int


class Episode:
    """One dense network on its way to a smaller one.

    Args:
        network: It is made dense.
        config: Of this episode.
        budget: Sparsity to end at, or None.
        generator: Draws batches, and channels for the random criterion.
        seconds: Where time is added up.

    Attributes:
        round: Rounds that are over.
        trials: What a privileged policy has tried out so far, in order.
        gradients: Gradients that it has asked for, those of training steps with gates among them.
        terms: What is known of the network after the last round.
        finite: Whether loss and score of the last round were finite.
        executed_ratio: Share of each group's channels that the last round removed, [G].

    Raises:
        ValueError: If the budget cannot be reached.
    """

    def __init__(
        self, network: Network, config: PruningConfig, budget: float | None, generator: torch.Generator,
        seconds: Seconds,
    ):  # fmt: skip
        self.network, self.config, self.budget, self.seconds = network, config, budget, seconds
        self.round = 0
        self.trials: list[Trial] = []
        self.gradients = 0
        self._openness: np.ndarray | None = None  # [W], of gates that have trained since the last cut
        self.finite = True
        self.generator = generator
        self._batches = Batches(network.train_state.target, generator)
        self._guarded = False
        self._schedule = SCHEDULES[config.schedule]
        self._criterion = configured("criterion", config.criterion, CRITERIA)
        self._repair = configured("repair", config.repair or network.train_state.target.repair, REPAIRS)
        self._fine_tuning = configured("fine-tuning", config.fine_tuning, FINE_TUNINGS)
        self._costs = {name: make(network) for name, make in config.costs.items()}
        self._dense_costs = {name: float(cost(network.grouping.widths)) for name, cost in self._costs.items()}
        self._weights = _group_weights(network, config.component_weights or {})
        if budget is not None:
            self._check_budget(budget)
        if type(self._fine_tuning) is not FineTuning:
            self._prepare_fine_tuning()
        network.restore()  # from here on nothing raises: an episode that cannot begin leaves the running one alone
        network.train_state.tracker.track((*config.measures, *self._criterion.measures))
        self.executed_ratio = np.zeros(len(self.widths))
        self.terms = self._terms(1.0)

    def _prepare_fine_tuning(self) -> None:
        """Let the fine-tuning see the dense network; whatever it raises leaves the network as it was."""
        before = self.network.train_state.snapshot()
        self.network.restore()
        try:
            self._fine_tuning.begin(self.network)
        finally:
            self.network.train_state.restore(before)

    def _check_budget(self, budget: float) -> None:
        deepest = 1.0 - float(self.cost_of(self._least_of(self.network.grouping.widths))) / self._dense_cost
        if deepest < budget:
            multiple = self.config.round_to
            multiples = f" and widths in multiples of {multiple}" if multiple > 1 else ""
            raise ValueError(
                f"budget {budget} cannot be reached: with {self.config.min_channels} channel(s) in every group"
                f"{multiples} the sparsity of {self.network.label!r} is {deepest:.4f}; give a smaller budget"
            )

    # ------------------------------------------------------------------ reading
    @property
    def widths(self) -> np.ndarray:
        """Present channels of each group, int [G]."""
        return self.network.widths

    @property
    def least_widths(self) -> np.ndarray:
        """Channels that must stay in each group, int [G]."""
        return self._least_of(self.widths)

    def _least_of(self, widths: np.ndarray) -> np.ndarray:
        least = np.maximum(self.config.min_channels, self.network.grouping.least)
        return least_widths(least, widths, self.config.round_to)

    @property
    def importance(self) -> ImportanceTracker:
        """The importance of groups and channels, as it was measured in training."""
        return self.network.train_state.tracker

    @property
    def over(self) -> bool:
        """Whether all rounds are done, or the network collapsed."""
        collapsed = self.config.stop_on_collapse and self.terms.retained < 0
        return self.round >= self.config.rounds or collapsed or not self.finite

    @property
    def progress(self) -> float:
        """Share of the rounds that is over."""
        return self.round / self.config.rounds

    @property
    def cost_target(self) -> float | None:
        """The cost that this round has to end at, on the schedule towards the budget; None without a budget."""
        if self.budget is None:
            return None
        return self._schedule((self.round + 1) / self.config.rounds, self.budget) * self._dense_cost

    @property
    def trial_cuts(self) -> int:
        """Trials that a privileged policy has asked for."""
        return len(self.trials)

    @property
    def trial_steps(self) -> int:
        """Training steps in these trials, and gradients that a privileged policy has asked for."""
        return sum(trial.steps for trial in self.trials) + self.gradients

    @property
    def best_trials(self) -> list[tuple[int, float]]:
        """Anytime curve of the latest round with trials: number of a trial, from 1, and its score, where one was best.

        Trials that do not count are numbered, but never best.
        """
        latest = [trial for trial in self.trials if trial.round == self.trials[-1].round]
        best: list[tuple[int, float]] = []
        for number, trial in enumerate(latest, start=1):
            if trial.counts and (not best or trial.retained > best[-1][1]):
                best.append((number, trial.retained))
        return best

    def cost_of(self, widths: np.ndarray, unit: str | None = None) -> np.ndarray:
        """Cost at widths int [B, G] or [G], as counted on the cut network, in the budget's unit or that of `unit`."""
        return self._costs[unit or self.config.budget_unit](widths)

    def widths_for(self, ratios: np.ndarray) -> np.ndarray:
        """Channels of each group that stay when this action is taken now, int [G]."""
        ratios = 1.0 - (1.0 - ratios) ** (1.0 / self._weights)
        if self.cost_target is None:
            return widths_after(ratios, self.widths, self.least_widths, self.config.round_to)
        return project(ratios, self.widths, self.cost_of, self.cost_target, self.least_widths, self.config.round_to)

    @isolated()
    def retained(self, split: Split) -> float:
        """Retained score of the network as it stands, at least `COLLAPSED`."""
        return self._retained(self.network.score(split), split)

    # ------------------------------------------------------------------ doing
    @isolated()
    def advance(self, ratios: np.ndarray) -> None:
        """One round: cut, repair, train, score. If anything raises, all is as it was before.

        Args:
            ratios: Validated action, [G].
        """
        begun = time.perf_counter()
        with self.undone_by_errors(), own_random_state(self._seed(self.round)):
            before = self.widths
            self._cut(self.widths_for(ratios))
            loss = self._train(self.config.steps_per_round)
            self._openness = None
            score = self._score() if math.isfinite(loss) else math.nan
            self.executed_ratio = 1.0 - self.widths / before
            self.finite = math.isfinite(score)
            self.terms = self._terms(self._retained(score, "validation"))
            self.round += 1
        self.seconds.total += time.perf_counter() - begun

    @contextmanager
    def undone_by_errors(self) -> Iterator[None]:
        """Within, whatever raises leaves network, importance, batches and random state as they were before."""
        if self._guarded:
            yield
            return
        train_state = self.network.train_state
        snapshot, random = train_state.snapshot(), self.generator.get_state()
        known = self.executed_ratio, self.finite, self.terms, self.round
        self._batches.mark()
        self._guarded = True
        try:
            yield
        except BaseException:
            train_state.restore(snapshot)
            self.generator.set_state(random)
            self._batches.rewind()
            self.executed_ratio, self.finite, self.terms, self.round = known
            raise
        finally:
            self._guarded = False
            self._batches.forget()

    def _seed(self, number: int) -> int:
        """Seed of what draws from global random states, such as dropout, in a round or trial of this episode."""
        return (self.generator.initial_seed() * 1_000_003 + number) % 2**62

    @isolated()
    def try_out(self, widths: np.ndarray, seed: int, steps: int | None = None) -> float:
        """Retained score on validation if the network were cut to these widths now; everything is put back.

        Args:
            widths: Channels of each group that stay, int [G].
            seed: Of the trial's own batches: nobody sees those of the real round.
            steps: Training steps after the cut; by default those of a round.
        """
        train_state, generator, batches = self.network.train_state, self.generator, self._batches
        steps = self.config.steps_per_round if steps is None else steps
        memory = train_state.snapshot()
        self.generator = torch.Generator().manual_seed(seed)
        self._batches = Batches(train_state.target, self.generator)
        retained = COLLAPSED
        try:
            with own_random_state(self._seed(0)):
                self._cut(widths)
                retained = self._retained(
                    self._score() if math.isfinite(self._train(steps)) else math.nan, "validation"
                )
            return retained
        finally:
            train_state.restore(memory)
            self.generator, self._batches = generator, batches
            fits = self.cost_target is None or float(self.cost_of(widths)) <= self.cost_target
            self.trials.append(Trial(retained, steps, fits and steps == self.config.steps_per_round, self.round))

    @isolated()
    def gated_loss(self, gates: np.ndarray, seed: int) -> tuple[float, np.ndarray]:
        """Training loss on a batch with gates on the channels, and its gradient [W]; it is counted.

        Args:
            gates: [W].
            seed: Of the batch.
        """
        train_state, generator = self.network.train_state, torch.Generator().manual_seed(seed)
        target, model = train_state.target, train_state.model
        modes = {module: module.training for module in model.modules()}
        memory = train_state.snapshot()
        self.gradients += 1
        try:
            with own_random_state(self._seed(0)):
                batch = next(target.batches(generator))
                target.collect(model.train(), batch)
                losses = partial(target.losses, batch=batch)
                value, gradient = gated_loss(train_state.surgeon, losses, torch.from_numpy(gates))
                return float(value), gradient.cpu().double().numpy()
        finally:
            train_state.restore(memory)
            for module, training in modes.items():
                module.training = training

    @isolated()
    def train_gates(self, rule: GateRule, steps: int, cost_target: float) -> np.ndarray:
        """Train the network with gates on its channels; the next cut removes the channels that are least open.

        The steps are counted. They train the network itself: weights are multiplied by the final gates at the end.

        Args:
            rule: How gates train.
            steps: Training steps.
            cost_target: Cost that the gates are steered to.

        Returns:
            How open each gate is, [W]; at most 0 where it is closed.
        """
        state, begun = self.network.train_state, time.perf_counter()
        keep, shares = self._uniform_share(cost_target), self._cost_shares()
        group_of = self.network.group_of

        def too_much(open_: torch.Tensor) -> bool:
            widths = np.bincount(group_of, weights=open_.double().cpu().numpy(), minlength=len(self.widths))
            return float(self.cost_of(np.maximum(widths.round().astype(np.int64), 1))) > cost_target

        with self.undone_by_errors(), own_random_state(self._seed(self.round)):
            generator = torch.Generator().manual_seed(self._seed(self.round))
            gates = ChannelGates(state.surgeon, rule, steps, generator, torch.from_numpy(shares), keep, too_much)
            with gates, _scaled_learning_rate(state.optimizers, self.config.learning_rate_factor):
                train(state.target, state.model, state.optimizers, self._batches, steps, [gates, *state.observers])
            self._openness = np.nan_to_num(gates.openness().double().cpu().numpy(), nan=-np.inf)
        self.gradients += steps
        self.seconds.training += time.perf_counter() - begun
        return self._openness.copy()

    def _uniform_share(self, cost_target: float) -> float:
        """The largest share of every group's channels that costs no more than this."""
        low, high = 0.0, 1.0
        for _ in range(20):
            middle = (low + high) / 2
            widths = np.maximum((self.widths * middle).round().astype(np.int64), self.least_widths)
            low, high = (middle, high) if float(self.cost_of(widths)) <= cost_target else (low, middle)
        return low

    def _cost_shares(self) -> np.ndarray:
        """Share of the cost that goes with each channel alone, float [W], summing to 1."""
        fewer = np.maximum(self.widths - np.eye(len(self.widths), dtype=np.int64), 1)
        saved = np.maximum(float(self.cost_of(self.widths)) - self.cost_of(fewer), 0.0)[self.network.group_of]
        return saved / max(saved.sum(), 1e-12)

    @isolated()
    def retained_untrained(self, keep: torch.Tensor) -> float:
        """Retained score on validation if only these channels stayed, repaired but not trained; all is put back.

        Args:
            keep: bool [W].
        """
        train_state, generator, batches = self.network.train_state, self.generator, self._batches
        memory = train_state.snapshot()
        self.generator = torch.Generator().manual_seed(self._seed(0))
        self._batches = Batches(train_state.target, self.generator)
        try:
            with own_random_state(self._seed(0)):
                self._remove(keep)
                self._repair.after_cut(train_state.target, train_state.model, self._batches)
                return self._retained(self._score(), "validation")
        finally:
            train_state.restore(memory)
            self.generator, self._batches = generator, batches

    def _cut(self, widths: np.ndarray) -> None:
        train_state = self.network.train_state
        values = self._openness
        if values is None:
            values = self._criterion.values(train_state.context(self.generator)).cpu().numpy()
        self._remove(torch.from_numpy(choose_channels(values, self.network.group_of, self.widths - widths)))

    def _remove(self, keep: torch.Tensor) -> None:
        train_state, begun = self.network.train_state, time.perf_counter()
        self._repair.before_cut(train_state.target, train_state.surgeon, keep, self._batches)
        self.seconds.training += time.perf_counter() - begun
        train_state.cut(keep)

    def _train(self, steps: int) -> float:
        """Repair and train; the mean loss."""
        train_state = self.network.train_state
        begun = time.perf_counter()
        self._fine_tuning.after_cut(self.network, self._seed(self.round))
        self._repair.after_cut(train_state.target, train_state.model, self._batches)
        batches, observers = self._fine_tuning.training(self.network, self._batches)
        with _scaled_learning_rate(train_state.optimizers, self.config.learning_rate_factor):
            loss = train(
                train_state.target, train_state.model, train_state.optimizers, batches, steps,
                [*observers, *train_state.observers],
            )  # fmt: skip
        self.seconds.training += time.perf_counter() - begun
        return loss

    def _score(self) -> float:
        begun = time.perf_counter()
        score = self.network.score("validation")
        self.seconds.scoring += time.perf_counter() - begun
        return score

    def _retained(self, score: float, split: Split) -> float:
        floor, dense = self.network.score_scale(split)
        retained = (score - floor) / (dense - floor)
        return max(retained, COLLAPSED) if math.isfinite(retained) else COLLAPSED

    @property
    def _dense_cost(self) -> float:
        return self._dense_costs[self.config.budget_unit]

    def _terms(self, retained: float) -> Terms:
        costs = {name: float(cost(self.widths)) for name, cost in self._costs.items()}
        for name, cost in costs.items():
            check_value(f"cost {name!r} of {self.network.label!r}", cost, float, Range(0))
            check_value(f"cost {name!r} of the dense {self.network.label!r}", self._dense_costs[name], float, _POSITIVE)
        return Terms(
            retained=retained,
            costs=costs,
            sparsities={name: 1.0 - cost / self._dense_costs[name] for name, cost in costs.items()},
            budget=self.budget or 0.0,
            budget_unit=self.config.budget_unit,
        )


@contextmanager
def _scaled_learning_rate(optimizers: list[torch.optim.Optimizer], factor: float) -> Iterator[None]:
    settings = [group for optimizer in optimizers for group in optimizer.param_groups]
    before = [group["lr"] for group in settings]
    try:
        for group in settings:
            group["lr"] = group["lr"] * factor
        yield
    finally:
        for group, rate in zip(settings, before, strict=True):
            group["lr"] = rate


def _group_weights(network: Network, weights: Mapping[str, float]) -> np.ndarray:
    """The largest weight of each group's components, [G]; 1 for those without."""
    components = network.train_state.target.components
    if unknown := sorted(set(weights) - set(components)):
        raise ValueError(f"component_weights name {unknown}; the components are {', '.join(components)}")
    return np.array([max(weights.get(name, 1.0) for name in group.components) for group in network.grouping])
