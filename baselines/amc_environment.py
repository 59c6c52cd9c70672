"""AMC's decision problem: the groups of one network are decided one after another, each with one bounded action.

Letters: G groups, F features of a state, K widths of a group.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box

from prune_env.envs import NetworkView

FEATURES = ("t", "n", "c", "stride", "k", "weights", "cost", "reduced", "rest", "previous")
"""Features of a state: index, output and input channels, stride, kernel size and weights of the group's root layer; the
share of the network's cost that hangs on the group; the share removed so far, the share that hangs on the groups to
come, and the last action."""


class GroupwiseEnv(gym.Env):
    """One episode decides the kept share of every group of a network, and ends with one trial cut.

    He et al. 2018 (AMC, arXiv 1802.03494), section 3. The state has their features (t, n, c, h, w, stride, k, FLOPs,
    reduced, rest, a_{t-1}), scaled to [0, 1], as their code has them, which puts the number of weights in place of the
    feature map's h and w. The action is the kept share; it is bounded (algorithm 1) so that the target is met even if
    all groups to come keep the least: by the exact cost instead of a sum over layers. The reward is the retained
    score at the end of the episode, and 0 before; it is the accuracy of their resource-constrained search.

    Args:
        view: Of the network.
        target: Cost to end at.
        least: Smallest kept share of a group, in (0, 1).
        on_episode: Called after each episode with its widths int [G] and its reward.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        view: NetworkView,
        target: float,
        least: float,
        on_episode: Callable[[np.ndarray, float], None] = lambda widths, reward: None,
    ):
        self._view, self._target, self._on_episode = view, target, on_episode
        self._present = view.widths
        self.groups = len(self._present)
        shares = np.minimum(np.arange(int(self._present.max()) + 1)[:, None] / self._present, 1.0 - least)
        self._allowed = [np.unique(column) for column in view.widths_at(shares).T]  # G arrays int [K], ascending
        self._least = np.array([widths[0] for widths in self._allowed])
        self._dense_cost = float(view.cost_of(self._present))
        self._hanging = self._hanging_costs()
        self._static = _scaled(self._layer_features())
        self.action_space = Box(np.float32(least), np.float32(1.0), (1,))
        self.observation_space = Box(0.0, 1.0, (len(FEATURES),), dtype=np.float32)
        self._decided = 0
        self._widths = self._present.copy()
        self._last = 1.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin with nothing decided."""
        super().reset(seed=seed)
        self._decided, self._widths, self._last = 0, self._present.copy(), 1.0
        return self._state(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Decide the next group: its kept share, bounded from above by the budget."""
        g = self._decided
        width = self.bounded(float(np.asarray(action).reshape(-1)[0]))
        self._widths[g] = width
        self._last = width / self._present[g]
        self._decided += 1
        over = self._decided == self.groups
        reward = 0.0
        if over:
            reward = self._view.evaluate_widths(self._widths)
            self._on_episode(self._widths.copy(), reward)
        return self._state(), reward, over, False, {"width": width}

    def bounded(self, share: float) -> int:
        """The width for a kept share of the next group, at most what the budget allows."""
        g, allowed = self._decided, self._allowed[self._decided]
        options = np.repeat(self._least[None], len(allowed), axis=0)  # the groups to come keep the least
        options[:, :g] = self._widths[:g]
        options[:, g] = allowed
        fits = np.flatnonzero(self._view.cost_of(options) <= self._target)
        most = int(allowed[fits[-1]]) if len(fits) else int(allowed[0])
        wanted = int(allowed[np.argmin(np.abs(allowed - share * self._present[g]))])
        return min(wanted, most)

    def _state(self) -> np.ndarray:
        """Features float32 [F] of the next group, or of the last one when all are decided."""
        g = min(self._decided, self.groups - 1)
        reduced = 1.0 - float(self._view.cost_of(self._widths)) / self._dense_cost
        changing = [reduced, self._hanging[g + 1 :].sum(), self._last]
        return np.clip(np.concatenate([self._static[g], changing]), 0.0, 1.0).astype(np.float32)

    def _hanging_costs(self) -> np.ndarray:
        """Share of the cost that goes with each group, the others dense, scaled to a sum of at most 1, [G]."""
        without = np.repeat(self._present[None], self.groups, axis=0)
        np.fill_diagonal(without, self._least)
        shares = 1.0 - np.asarray(self._view.cost_of(without), dtype=np.float64) / self._dense_cost
        return shares / max(float(shares.sum()), 1.0)

    def _layer_features(self) -> np.ndarray:
        """Features that do not depend on what was decided, unscaled, [G, F - 3]."""
        model = self._view.copy_model()
        rows = []
        for g, (root, shape) in enumerate(zip(self._view.roots, self._view.root_shapes, strict=True)):
            stride = np.max(getattr(model.get_submodule(root), "stride", 1))
            kernel = shape[-1] if len(shape) > 2 else 1
            inputs = shape[1] if len(shape) > 1 else 1
            rows.append([g, self._present[g], inputs, stride, kernel, np.prod(shape, dtype=float), self._hanging[g]])
        return np.array(rows, dtype=np.float64)


def _scaled(features: np.ndarray) -> np.ndarray:
    """Every column from 0 to 1 over the groups, [G, F]; 0 where all are equal."""
    low, span = features.min(axis=0), np.ptp(features, axis=0)
    return np.divide(features - low, span, out=np.zeros_like(features), where=span > 0)
