"""Search for the best ratios of one network by trial cuts, privileged; every trial is counted.

Letters: G groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from prune_env.baselines.privileged import Privileged
from prune_env.benchmark.policies import make_policy
from prune_env.envs import NetworkView, PruningEnv
from prune_env.validation import Range, check_value

NEAR = 1 / 8
"""Standard deviation of draws around the start of a warm search [share of the largest ratio]."""


class Search(Privileged):
    """Score candidates on the network and use the best; a subclass implements `candidates`.

    Args:
        env: As for `Privileged`.
        evaluations: Trial cuts per round, at least 1.
        start: A policy whose answer is the first candidate and what the search sets out from: a name, with options if
            it takes some, or the path of a saved agent. Trials that it makes itself are counted on top.

    Attributes:
        begin: The start's ratios for the network at hand, [G]; None for a cold search.

    Raises:
        ValueError: If `evaluations` is out of range, or there is no such policy.
    """

    def __init__(self, env: PruningEnv, evaluations: int = 48, start: str | None = None):
        super().__init__(env)
        check_value("evaluations", evaluations, int, Range(1))
        self.evaluations = evaluations
        self.begin: np.ndarray | None = None
        self._start = None if start is None else make_policy(start, env)
        self._seed = 0

    def seed(self, seed: int) -> None:
        """Seed the next search."""
        self._seed = seed
        if self._start is not None and hasattr(self._start, "seed"):
            self._start.seed(seed)

    def candidates(self, random: np.random.Generator, values: list[float]) -> Iterator[np.ndarray]:
        """Yield ratios [G], without end or until nothing is left to try; `values` holds the score of all before.

        A warm search has tried `begin` before it asks for the first.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement candidates(random, values)")

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """The best ratios found, float32 [G]; the observation is for the start alone.

        Raises:
            RuntimeError: If no network was attached.
        """
        view = self.attached()
        if self._start is not None:
            if self._start.privileged:
                self._start.attach(view)  # type: ignore[attr-defined]
            self.begin = self.bounded(self._start.predict(observation)[0])
        return super().predict(observation, state)

    def ratios(self, view: NetworkView) -> np.ndarray:
        """The best ratios [G] found."""
        found = self.search(view, np.random.default_rng(self._seed))
        self._seed += 1
        return found

    def search(self, view: NetworkView, random: np.random.Generator) -> np.ndarray:
        """The best ratios [G] of `evaluations` candidates."""
        values: list[float] = []
        tried: list[np.ndarray] = []
        for candidate in self._all_candidates(random, values):
            tried.append(self.bounded(candidate))
            values.append(view.evaluate(tried[-1]))
            if len(values) == self.evaluations:
                break
        return tried[int(np.argmax(values))]

    def _all_candidates(self, random: np.random.Generator, values: list[float]) -> Iterator[np.ndarray]:
        if self.begin is not None:
            yield self.begin
        yield from self.candidates(random, values)

    def bounded(self, ratios: np.ndarray) -> np.ndarray:
        """Ratios within the bounds of an action, float32 [G]."""
        return np.clip(ratios, 0.0, self.max_ratio).astype(np.float32)

    def near(self, ratios: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """A draw around ratios [G]: normal, with standard deviation `NEAR`, clipped to the bounds."""
        return np.clip(ratios + random.normal(0.0, NEAR * self.max_ratio, self.groups), 0.0, self.max_ratio)


class RandomSearch(Search):
    """Ratios drawn uniformly, or, with a start, around its ratios."""

    def candidates(self, random: np.random.Generator, values: list[float]) -> Iterator[np.ndarray]:
        """Uniform in [0, max_ratio], or normal around the start."""
        while True:
            if self.begin is None:
                yield random.uniform(0.0, self.max_ratio, self.groups)
            else:
                yield self.near(self.begin, random)


class CMAESSearch(Search):
    """Covariance matrix adaptation (Hansen 2016, arXiv 1604.00772), from the middle of the range; extra `search`.

    Args:
        env: As for `Search`.
        evaluations: As for `Search`.
        start: As for `Search`: the first mean, with half of the first standard deviation.

    Raises:
        ImportError: If the package cmaes is missing.
    """

    def __init__(self, env: PruningEnv, evaluations: int = 48, start: str | None = None):
        super().__init__(env, evaluations, start)
        try:
            from cmaes import CMA
        except ImportError as error:
            raise ImportError("the policy 'cma-es' needs the package cmaes: pip install 'prune_env[search]'") from error
        self._cma = CMA

    def candidates(self, random: np.random.Generator, values: list[float]) -> Iterator[np.ndarray]:
        """Candidates of one generation after another."""
        warm = self.begin is not None
        middle = np.full(self.groups, self.max_ratio / 2) if self.begin is None else self.begin.astype(np.float64)
        bounds = np.tile([0.0, self.max_ratio], (self.groups, 1))
        sigma = self.max_ratio * (NEAR if warm else 2 * NEAR)
        strategy = self._cma(middle, sigma=sigma, bounds=bounds, seed=int(random.integers(2**31)))
        while True:
            generation = [strategy.ask() for _ in range(strategy.population_size)]
            yield from generation
            latest = values[-len(generation) :]
            strategy.tell([(ratios, -value) for ratios, value in zip(generation, latest, strict=True)])
