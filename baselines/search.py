"""Privileged: search for the best ratios of one network by trying them, every trial counted."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from prune_env.envs import NetworkView, PruningEnv


class RandomSearch:
    """Try ratios drawn uniformly and take the best.

    Args:
        env: Tells the number of groups and the bound of the ratios.
        evaluations: Trials per round.
    """

    privileged: ClassVar[bool] = True
    learned: ClassVar[bool] = False

    def __init__(self, env: PruningEnv, evaluations: int = 48):
        self._groups, self._max_ratio, self._evaluations = len(env.group_names), env.max_ratio, evaluations
        self._random = np.random.default_rng(0)
        self._view: NetworkView | None = None

    def seed(self, seed: int) -> None:
        """Start the random numbers anew."""
        self._random = np.random.default_rng(seed)

    def attach(self, view: NetworkView) -> None:
        """Search in this network from now on; called by the benchmark before every action."""
        self._view = view

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """The best ratios [G] found; the observation is not read.

        Raises:
            RuntimeError: If no network was attached.
        """
        if self._view is None:
            raise RuntimeError("a privileged policy needs attach(env.unwrapped.view) before predict()")
        best, ratios = -np.inf, np.zeros(self._groups, dtype=np.float32)
        for _ in range(self._evaluations):
            candidate = self._random.uniform(0.0, self._max_ratio, self._groups).astype(np.float32)
            value = self._view.evaluate(candidate)
            if value > best:
                best, ratios = value, candidate
        return ratios, state
