"""A channel criterion as the importance of groups, privileged: any criterion, without a column of the observation."""

from __future__ import annotations

from typing import Any

import numpy as np

from prune_env.baselines.allocation import ALLOCATIONS
from prune_env.baselines.privileged import Privileged
from prune_env.envs import NetworkView, PruningEnv
from prune_env.importance import CRITERIA
from prune_env.open_sets import configured, find
from prune_env.validation import Range, check_value


class CriterionImportance(Privileged):
    """Cut the groups more whose channels are worth less by a criterion, on average.

    Args:
        env: As for `Privileged`.
        criterion: Name of the criterion, see `prune_env.importance.CRITERIA`.
        allocation: How importance becomes ratios, a name of `ALLOCATIONS`.
        temperature: Temperature of the allocation, positive; the larger it is, the more equal are the ratios.
        **options: As for `Privileged`.

    Raises:
        ValueError: If the criterion is unknown or random, the allocation is unknown, or the temperature not positive.
    """

    def __init__(
        self,
        env: PruningEnv,
        criterion: str = "wanda",
        allocation: str = "exponential",
        temperature: float = 1.0,
        **options: Any,
    ):
        super().__init__(env, **options)
        self._signed = configured("criterion", criterion, {n: c for n, c in CRITERIA.items() if not c.draws}).signed
        check_value("temperature", temperature, float, Range(0, ends="()"))
        self._criterion, self._temperature = criterion, temperature
        self._allocate = find("allocation", allocation, ALLOCATIONS)

    def ratios(self, view: NetworkView) -> np.ndarray:
        """Ratios [G] by the mean of the criterion over each group's channels: its logarithm, where it has no sign."""
        means = np.bincount(view.group_of, weights=view.scores(self._criterion)) / view.widths
        importance = means if self._signed else np.log10(np.maximum(means, 1e-20))
        return self._allocate(importance, self.max_ratio, self.amount, self._temperature)
