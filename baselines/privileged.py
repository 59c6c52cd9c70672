"""Base class of privileged policies, which see the network or score trial cuts on it.

Letters: G groups.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from prune_env.baselines.allocation import AMOUNT
from prune_env.envs import NetworkView, PruningEnv
from prune_env.validation import Range, check_value


class Privileged:
    """A policy with the `predict` of an SB3 model that uses a view of the network; a subclass implements `ratios`.

    Args:
        env: The environment, of which the number of groups and the bound of the ratios are read.
        amount: Share of the cost to remove in a round without a budget, in (0, 1).

    Raises:
        ValueError: If `amount` is out of range.
    """

    privileged: ClassVar[bool] = True
    learned: ClassVar[bool] = False

    def __init__(self, env: PruningEnv, amount: float = AMOUNT):
        check_value("amount", amount, float, Range(0, 1, "()"))
        self.groups, self.max_ratio, self.amount = len(env.group_names), env.max_ratio, amount
        self._view: NetworkView | None = None

    def attach(self, view: NetworkView) -> None:
        """Use this view of the network for the next action; benchmarks call it before every action."""
        self._view = view

    def attached(self) -> NetworkView:
        """The attached view.

        Raises:
            RuntimeError: If none is attached.
        """
        if self._view is None:
            raise RuntimeError("a privileged policy needs attach(env.unwrapped.view) before predict()")
        return self._view

    def ratios(self, view: NetworkView) -> np.ndarray:
        """The ratios [G] for the network in its present state."""
        raise NotImplementedError(f"{type(self).__name__} must implement ratios(view)")

    def cost_target(self, view: NetworkView) -> float:
        """The cost to reach in this round."""
        if view.cost_target is not None:
            return view.cost_target
        return (1.0 - self.amount) * float(view.cost_of(view.widths))

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """The ratios float32 [G]; the observation is not read.

        Raises:
            RuntimeError: If no network was attached.
        """
        return np.clip(self.ratios(self.attached()), 0.0, self.max_ratio).astype(np.float32), state
