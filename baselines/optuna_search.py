"""Searches by samplers of Optuna, privileged; extra `search`.

Letters: G groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from prune_env.baselines.search import Search
from prune_env.envs import NetworkView, PruningEnv
from prune_env.validation import Range, check_value

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import Trial


class OptunaSearch(Search):
    """What searches with a sampler of Optuna share: a study in memory, asked and told."""

    def __init__(self, env: PruningEnv, evaluations: int = 48, start: str | None = None):
        super().__init__(env, evaluations, start)
        try:
            import optuna
        except ImportError as error:
            message = "policies 'tpe' and 'nsga2' need the package optuna: pip install 'prune_env[search]'"
            raise ImportError(message) from error
        self._optuna = optuna

    def _study(self, sampler: BaseSampler, *directions: Literal["minimize", "maximize"]) -> Study:
        verbosity = self._optuna.logging.get_verbosity()
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        try:
            return self._optuna.create_study(sampler=sampler, directions=directions)
        finally:
            self._optuna.logging.set_verbosity(verbosity)

    def _fixed(self, ratios: np.ndarray) -> dict[str, float]:
        """Ratios [G] as parameters of a trial."""
        return {f"g{g}": float(np.clip(ratio, 0.0, self.max_ratio)) for g, ratio in enumerate(ratios)}

    def _drawn(self, trial: Trial) -> np.ndarray:
        """The ratios [G] of a trial."""
        return np.array([trial.suggest_float(f"g{g}", 0.0, self.max_ratio) for g in range(self.groups)])


class TPESearch(OptunaSearch):
    """Tree-structured Parzen estimator (Bergstra et al. 2011; Watanabe 2023, arXiv 2304.11127).

    Args:
        env: As for `Search`.
        evaluations: As for `Search`.
        start: As for `Search`: the first trial, beside those that are drawn at random.
        random_trials: Trials before the estimator is used.

    Raises:
        ImportError: If the package optuna is missing.
        ValueError: If an argument is out of range.
    """

    def __init__(
        self, env: PruningEnv, evaluations: int = 48, start: str | None = None, random_trials: int | None = None
    ):
        super().__init__(env, evaluations, start)
        if random_trials is not None:
            check_value("random_trials", random_trials, int, Range(0))
        self._random_trials = random_trials

    def candidates(self, random: np.random.Generator, values: list[float]) -> Iterator[np.ndarray]:
        """What the sampler asks for; with a start, random trials are drawn around it."""
        distributions: Any = {
            f"g{g}": self._optuna.distributions.FloatDistribution(0.0, self.max_ratio) for g in range(self.groups)
        }
        first = min(10, max(self.evaluations // 4, 1)) if self._random_trials is None else self._random_trials
        sampler = self._optuna.samplers.TPESampler(n_startup_trials=first, seed=int(random.integers(2**31)))
        study = self._study(sampler, "maximize")
        if self.begin is not None:
            study.add_trial(
                self._optuna.trial.create_trial(
                    params=self._fixed(self.begin), distributions=distributions, value=values[-1]
                )
            )
            for _ in range(first - 1):
                study.enqueue_trial(self._fixed(self.near(self.begin, random)))
        while True:
            trial = study.ask()
            yield self._drawn(trial)
            study.tell(trial, values[-1])


class FrontPoint(NamedTuple):
    """One network of a front.

    Attributes:
        ratios: The action, float32 [G].
        retained: Retained score on validation data.
        cost: In the unit of the budget.
    """

    ratios: np.ndarray
    retained: float
    cost: float


class NSGA2Search(OptunaSearch):
    """Many sparsities at once: a front of retained score against cost (Deb et al. 2002, NSGA-II).

    Candidates are cut to their own ratios; no budget moves them. The answer is the best point of the front within the
    round's budget, or else the cheapest one, and the environment's projection does the rest.

    Args:
        env: As for `Search`.
        evaluations: As for `Search`.
        start: As for `Search`: a part of the first generation is drawn around it, at all depths.
        population: Size of a generation; by default a quarter of the trials, at least 2 and at most 50.

    Attributes:
        front: Points of the last search that no other beats in both retained score and cost, cheapest first.

    Raises:
        ImportError: If the package optuna is missing.
        ValueError: If an argument is out of range.
    """

    def __init__(self, env: PruningEnv, evaluations: int = 48, start: str | None = None, population: int | None = None):
        super().__init__(env, evaluations, start)
        if population is not None:
            check_value("population", population, int, Range(2))
        self._population = population or min(max(evaluations // 4, 2), 50)
        self.front: list[FrontPoint] = []

    def search(self, view: NetworkView, random: np.random.Generator) -> np.ndarray:
        """The ratios [G] of the front's best point within the budget."""
        sampler = self._optuna.samplers.NSGAIISampler(
            population_size=self._population, seed=int(random.integers(2**31))
        )
        study = self._study(sampler, "maximize", "minimize")
        if self.begin is not None:
            rates = -np.log1p(-self.begin.astype(np.float64))
            for depth in np.linspace(1.0, 0.2, max(self._population // 2, 1)):
                study.enqueue_trial(self._fixed(-np.expm1(-depth * rates)))
        tried: list[FrontPoint] = []
        for _ in range(self.evaluations):
            trial = study.ask()
            ratios = self.bounded(self._drawn(trial))
            widths = view.widths_at(ratios)
            tried.append(FrontPoint(ratios, view.evaluate_widths(widths), float(view.cost_of(widths))))
            study.tell(trial, [tried[-1].retained, tried[-1].cost])
        self.front = pareto_front(tried)
        target = self.cost_target(view)
        within = [point for point in self.front if point.cost <= target]
        return within[-1].ratios if within else self.front[0].ratios


def pareto_front(points: list[FrontPoint]) -> list[FrontPoint]:
    """Points that no other beats in both retained score and cost, cheapest first; of equal ones the first."""
    order = sorted(range(len(points)), key=lambda i: (points[i].cost, -points[i].retained, i))
    front: list[FrontPoint] = []
    for i in order:
        if not front or points[i].retained > front[-1].retained:
            front.append(points[i])
    return front
