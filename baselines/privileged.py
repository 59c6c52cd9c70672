"""What privileged policies share: they look at a network, or try actions on it, instead of reading the observation.

Letters: G groups.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from prune_env.baselines.allocation import AMOUNT
from prune_env.envs import NetworkView, PruningEnv


class Privileged:
    """A policy with the `predict` of an SB3 model that answers from a view of the network; a subclass has `ratios`.

    Args:
        env: Tells the number of groups and the bound of the ratios.
        amount: Share of the cost that goes per round where there is no budget.
    """

    privileged: ClassVar[bool] = True
    learned: ClassVar[bool] = False

    def __init__(self, env: PruningEnv, amount: float = AMOUNT):
        self.groups, self.max_ratio, self.amount = len(env.group_names), env.max_ratio, amount
        self._view: NetworkView | None = None

    def attach(self, view: NetworkView) -> None:
        """Evaluation at this network from now on; called by the benchmark before every action."""
        self._view = view

    def attached(self) -> NetworkView:
        """The network to look at.

        Raises:
            RuntimeError: If there is none.
        """
        if self._view is None:
            raise RuntimeError("a privileged policy needs attach(env.unwrapped.view) before predict()")
        return self._view

    def ratios(self, view: NetworkView) -> np.ndarray:
        """The ratios [G] for the network as it stands."""
        raise NotImplementedError(f"{type(self).__name__} must implement ratios(view)")

    def cost_target(self, view: NetworkView) -> float:
        """The cost that this round is to end at."""
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
