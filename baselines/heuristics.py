"""Plain heuristics: functions of the observation, like an agent.

Letters: B observations, G groups, F columns of an observation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from prune_env.baselines.allocation import ALLOCATIONS, AMOUNT, standardise
from prune_env.envs import PruningEnv
from prune_env.open_sets import find
from prune_env.validation import Range, check_value


class Heuristic:
    """A pruning policy with the `predict` of an SB3 model, in the environment's own units (ratios in [0, max_ratio]).

    A subclass implements `ratios`.

    Args:
        env: The environment, of which the columns, the number of groups and the bound of the ratios are read.
        amount: Share of channels that a group of average importance loses in a round without a budget, in (0, 1).

    Raises:
        ValueError: If the observation lacks a column that the heuristic needs, or `amount` is out of range.
    """

    privileged: ClassVar[bool] = False
    learned: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, env: PruningEnv, amount: float = AMOUNT):
        check_value("amount", amount, float, Range(0, 1, "()"))
        self._columns = [column.name for column in env.columns]
        self._groups = len(env.group_names)
        self.max_ratio, self.amount = env.max_ratio, amount
        missing = set(self.needs) - set(self._columns)
        if missing:
            raise ValueError(
                f"{type(self).__name__} needs the columns {sorted(missing)}, which this observation does not have; "
                "make the environment with observation='full'"
            )

    def ratios(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Ratios [B, G] from the columns of B observations, each [B, G]."""
        raise NotImplementedError(f"{type(self).__name__} must implement ratios(columns)")

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """Actions for one observation [G * F] or a batch [B, G * F], like an SB3 model's `predict`."""
        observation = np.asarray(observation, dtype=np.float64)
        table = observation.reshape(-1, self._groups, len(self._columns))
        ratios = self.ratios({name: table[..., f] for f, name in enumerate(self._columns)})
        ratios = np.clip(ratios, 0.0, self.max_ratio).astype(np.float32)
        return (ratios if observation.ndim > 1 else ratios[0]), state


class NoPruning(Heuristic):
    """No pruning, the reference that shows the effect of further training; benchmarks run it without a budget."""

    reference: ClassVar[bool] = True

    def ratios(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """All zero."""
        return np.zeros_like(next(iter(columns.values())))


class Random(Heuristic):
    """Ratios drawn uniformly, from a seed."""

    def __init__(self, env: PruningEnv, amount: float = AMOUNT, seed: int = 0):
        super().__init__(env, amount)
        self._random = np.random.default_rng(seed)

    def seed(self, seed: int) -> None:
        """Seed the random generator."""
        self._random = np.random.default_rng(seed)

    def ratios(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Uniform in [0, max_ratio]."""
        return self._random.uniform(0.0, self.max_ratio, next(iter(columns.values())).shape)


class Uniform(Heuristic):
    """The same ratio for every group."""

    def ratios(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """`amount` everywhere."""
        return np.full_like(next(iter(columns.values())), self.amount)


class ImportanceHeuristic(Heuristic):
    """Cut the less important groups more.

    Args:
        env: As for every heuristic.
        amount: As for every heuristic.
        allocation: How importance becomes ratios, a name of `ALLOCATIONS`.
        temperature: Temperature of the allocation, positive; the larger it is, the more equal are the ratios.

    Raises:
        ValueError: If the allocation is unknown or the temperature is not positive.
    """

    def __init__(
        self, env: PruningEnv, amount: float = AMOUNT, allocation: str = "exponential", temperature: float = 1.0
    ):
        super().__init__(env, amount)
        check_value("temperature", temperature, float, Range(0, ends="()"))
        self._allocate, self._temperature = find("allocation", allocation, ALLOCATIONS), temperature

    def importance(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Importance of every group, [B, G], on a logarithmic scale."""
        raise NotImplementedError(f"{type(self).__name__} must implement importance(columns)")

    def ratios(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Allocate ratios by importance."""
        return self._allocate(self.importance(columns), self.max_ratio, self.amount, self._temperature)


class ImportanceMeasure(ImportanceHeuristic):
    """One importance measure, by the name of its column.

    Args:
        env: As for every heuristic.
        measure: Name of a column that the observation has.
        **options: As for `ImportanceHeuristic`.
    """

    def __init__(self, env: PruningEnv, measure: str = "gradient", **options: Any):
        self.needs = (measure,)  # type: ignore[misc]
        super().__init__(env, **options)

    def importance(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """The column, [B, G]."""
        return columns[self.needs[0]]


def _single(name: str, column: str, text: str) -> type[ImportanceHeuristic]:
    def importance(self: ImportanceHeuristic, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        return columns[column]

    return type(name, (ImportanceHeuristic,), {"__doc__": text, "needs": (column,), "importance": importance})


L1Norm = _single("L1Norm", "weight_mean", "Mean |w| of the group's root layer.")
L2Norm = _single("L2Norm", "weight_rms", "Root mean square w of the group's root layer.")
Gradient = _single("Gradient", "gradient", "Smoothed gradient importance.")
Fisher = _single("Fisher", "fisher", "Smoothed Fisher importance.")
Bayes = _single("Bayes", "bayes", "Smoothed Bayes importance.")


class CombinedSum(ImportanceHeuristic):
    """Weighted sum of the three standardised measures; equal weights by default.

    Args:
        env: As for every heuristic.
        amount: As for every heuristic.
        weights: Weights of gradient, Fisher and Bayes importance.
        **options: As for `ImportanceHeuristic`.

    Raises:
        ValueError: If there are not three finite weights.
    """

    needs = ("gradient", "fisher", "bayes")

    def __init__(
        self, env: PruningEnv, amount: float = AMOUNT, weights: Sequence[float] = (1.0, 1.0, 1.0), **options: Any
    ):
        super().__init__(env, amount, **options)
        if np.shape(weights) != (3,) or not np.isfinite(np.asarray(weights, dtype=float)).all():
            raise ValueError(f"weights of 'combined' must be three finite numbers, got {weights!r}")
        self._weights = weights

    def importance(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Sum over measures of weight * standardised importance (not of its logarithm)."""
        return sum(
            (w * standardise(10.0 ** columns[name]) for w, name in zip(self._weights, self.needs, strict=True)),
            start=np.zeros(()),
        )


class CombinedProduct(ImportanceHeuristic):
    """Product of the three measures."""

    needs = ("gradient", "fisher", "bayes")

    def importance(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Sum of the logarithms."""
        return columns["gradient"] + columns["fisher"] + columns["bayes"]


HEURISTICS: dict[str, Callable[..., Heuristic]] = {
    "none": NoPruning,
    "random": Random,
    "uniform": Uniform,
    "l1": L1Norm,
    "l2": L2Norm,
    "importance": ImportanceMeasure,
    "gradient": Gradient,
    "fisher": Fisher,
    "bayes": Bayes,
    "combined": CombinedSum,
    "product": CombinedProduct,
}
