"""What privileged policies may see: a read-only view of the network, and trial cuts on it, which are counted."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from torch import nn

from prune_env.envs.action import validate_action
from prune_env.envs.episode import Episode
from prune_env.groups import Cost, count_cost
from prune_env.importance import CRITERIA
from prune_env.isolation import isolated
from prune_env.open_sets import find


class NetworkView:
    """The network behind an observation. Letters: G groups, W present channels, flat in group order, B candidates.

    The target itself is not in view: its score would be a trial that nobody counts, on test data even.
    """

    def __init__(self, episode: Episode, max_ratio: float, seed: int):
        self._episode, self._max_ratio = episode, max_ratio
        self._seeds = np.random.default_rng(seed)

    @property
    def widths(self) -> np.ndarray:
        """Present channels of each group, int [G]."""
        return self._episode.widths.copy()

    @property
    def least_widths(self) -> np.ndarray:
        """Channels that must stay in each group, int [G]."""
        return self._episode.least_widths

    @property
    def group_of(self) -> np.ndarray:
        """Group of every present channel, int [W]."""
        return self._episode.network.group_of.copy()

    @property
    def cost_target(self) -> float | None:
        """The cost that this round has to end at; None without a budget."""
        return self._episode.cost_target

    @property
    def trial_cuts(self) -> int:
        """Trials so far in this episode."""
        return self._episode.trial_cuts

    def cost_of(self, widths: np.ndarray, unit: str | None = None) -> np.ndarray:
        """Cost at widths int [B, G], in the budget's unit or in that of another cost by its name."""
        return self._episode.cost_of(widths, unit)

    def copy_model(self) -> nn.Module:
        """A copy of the network in its present state, which may be changed."""
        return copy.deepcopy(self._episode.network.train_state.model)

    def trace(self, model: nn.Module) -> Any:
        """Run one sample through all entry points of a copy, and return every output."""
        return self._episode.network.train_state.target.trace(model)

    def count_cost(self, model: nn.Module) -> Cost:
        """Parameters and MACs of a copy, which may have been cut in any way, as deployed."""
        network = self._episode.network
        return count_cost(model, network.train_state.target.deploy, network.idle)

    @property
    def roots(self) -> tuple[str, ...]:
        """Qualified name of the layer that produces the channels of each group, [G]."""
        return tuple(group.root for group in self._episode.network.grouping)

    @isolated()
    def scores(self, criterion: str) -> np.ndarray:
        """A criterion's number for every present channel, float64 [W].

        Raises:
            ValueError: If the criterion is unknown, or random (which would disturb the episode's random state).
        """
        found = find("criterion", criterion, {name: c for name, c in CRITERIA.items() if not c.draws})
        context = self._episode.network.train_state.context(self._episode.generator)
        return found.values(context).cpu().double().numpy().copy()

    def evaluate(self, ratios: np.ndarray) -> float:
        """Retained validation score if these ratios, float [G], were the action now; the network is put back."""
        ratios = validate_action(ratios, len(self._episode.widths), self._max_ratio)
        return self._episode.try_out(ratios, int(self._seeds.integers(2**62)))
