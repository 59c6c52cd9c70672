"""Search for the best ratios of one network by trial cuts, privileged; every trial is counted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from prune_env.baselines.privileged import Privileged
from prune_env.envs import NetworkView, PruningEnv
from prune_env.validation import Range, check_value


class Search(Privileged):
    """Score candidates on the network and use the best; a subclass implements `candidates`.

    Args:
        env: As for `Privileged`.
        evaluations: Trial cuts per round, at least 1.

    Raises:
        ValueError: If `evaluations` is out of range.
    """

    def __init__(self, env: PruningEnv, evaluations: int = 48):
        super().__init__(env)
        check_value("evaluations", evaluations, int, Range(1))
        self.evaluations = evaluations
        self._seed = 0

    def seed(self, seed: int) -> None:
        """Seed the next search."""
        self._seed = seed

    def candidates(self, random: np.random.Generator, values: list[float]) -> Iterator[np.ndarray]:
        """Yield ratios [G] without end; `values` holds the score of every earlier candidate."""
        raise NotImplementedError(f"{type(self).__name__} must implement candidates(random, values)")

    def ratios(self, view: NetworkView) -> np.ndarray:
        """The best ratios [G] found."""
        values: list[float] = []
        tried: list[np.ndarray] = []
        for candidate in self.candidates(np.random.default_rng(self._seed), values):
            tried.append(np.clip(candidate, 0.0, self.max_ratio).astype(np.float32))
            values.append(view.evaluate(tried[-1]))
            if len(values) == self.evaluations:
                break
        self._seed += 1
        return tried[int(np.argmax(values))]


class RandomSearch(Search):
    """Ratios drawn uniformly."""

    def candidates(self, random: np.random.Generator, values: list[float]) -> Iterator[np.ndarray]:
        """Uniform in [0, max_ratio]."""
        while True:
            yield random.uniform(0.0, self.max_ratio, self.groups)


class CMAESSearch(Search):
    """Covariance matrix adaptation (Hansen 2016, arXiv 1604.00772), from the middle of the range; extra `search`.

    Args:
        env: As for `Search`.
        evaluations: As for `Search`.

    Raises:
        ImportError: If the package cmaes is missing.
    """

    def __init__(self, env: PruningEnv, evaluations: int = 48):
        super().__init__(env, evaluations)
        try:
            from cmaes import CMA
        except ImportError as error:
            raise ImportError("the policy 'cma-es' needs the package cmaes: pip install 'prune_env[search]'") from error
        self._cma = CMA

    def candidates(self, random: np.random.Generator, values: list[float]) -> Iterator[np.ndarray]:
        """Candidates of one generation after another."""
        middle = np.full(self.groups, self.max_ratio / 2)
        bounds = np.tile([0.0, self.max_ratio], (self.groups, 1))
        strategy = self._cma(middle, sigma=self.max_ratio / 4, bounds=bounds, seed=int(random.integers(2**31)))
        while True:
            generation = [strategy.ask() for _ in range(strategy.population_size)]
            yield from generation
            latest = values[-len(generation) :]
            strategy.tell([(ratios, -value) for ratios, value in zip(generation, latest, strict=True)])


SEARCHES: dict[str, type[Search]] = {"random-search": RandomSearch, "cma-es": CMAESSearch}
