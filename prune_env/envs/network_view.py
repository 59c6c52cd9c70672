"""What privileged policies may see: a read-only view of the network, and trial cuts on it, which are counted."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from torch import nn

from prune_env.envs.action import validate_action, widths_after
from prune_env.envs.episode import Episode
from prune_env.gates import GATES
from prune_env.groups import Cost, count_cost
from prune_env.groups.layer_attributes import weight_of
from prune_env.importance import CRITERIA
from prune_env.isolation import isolated
from prune_env.open_sets import configured
from prune_env.validation import Range, check_value


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
    def steps(self) -> int:
        """Training steps after a cut in this episode."""
        return self._episode.config.steps_per_round

    @property
    def trial_cuts(self) -> int:
        """Trials so far in this episode."""
        return self._episode.trial_cuts

    def widths_at(self, ratios: np.ndarray) -> np.ndarray:
        """Widths int [..., G] that may be cut to, nearest to these ratios [..., G]; the budget is not minded."""
        return widths_after(ratios, self.widths, self.least_widths, self._episode.config.round_to)

    def widths_for(self, ratios: np.ndarray) -> np.ndarray:
        """Widths int [G] that the action `ratios` [G] would leave, at the end of this round's budget."""
        ratios = validate_action(ratios, len(self.widths), self._max_ratio)
        return self._episode.widths_for(ratios)

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
    def names(self) -> tuple[str, ...]:
        """Name of each group, [G]."""
        return self._episode.network.grouping.names

    @property
    def roots(self) -> tuple[str, ...]:
        """Qualified name of the layer that produces the channels of each group, [G]."""
        return tuple(group.root for group in self._episode.network.grouping)

    @property
    def root_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of the weight of each group's root layer as it is now, output channels first where it is dense, [G]."""
        model = self._episode.network.train_state.model
        weights = [weight_of(model.get_submodule(root)) for root in self.roots]
        return tuple(() if weight is None else tuple(weight.shape) for weight in weights)

    @isolated()
    def scores(self, criterion: str) -> np.ndarray:
        """A criterion's number for every present channel, float64 [W].

        Raises:
            ValueError: If the criterion is unknown, or random (which would disturb the episode's random state).
        """
        found = configured("criterion", criterion, {name: c for name, c in CRITERIA.items() if not c.draws})
        context = self._episode.network.train_state.context(self._episode.generator)
        return found.values(context).cpu().double().numpy().copy()

    def evaluate(self, ratios: np.ndarray, steps: int | None = None) -> float:
        """Retained validation score if these ratios, float [G], were the action now; the network is put back.

        Args:
            ratios: The action, [G].
            steps: Training steps after the cut; by default those of a round. Fewer make a cheaper, rougher trial.
        """
        return self._try(self.widths_for(ratios), steps)

    def evaluate_widths(self, widths: np.ndarray, steps: int | None = None) -> float:
        """Retained validation score if the network were cut to exactly these widths, int [G], budget or not.

        Raises:
            ValueError: If these are no widths that the network can be cut to.
        """
        widths, present = np.asarray(widths), self.widths
        if (
            widths.shape != present.shape
            or not ((widths == present) | (widths == self.widths_at(1.0 - widths / present))).all()
        ):
            raise ValueError(
                f"widths must be whole numbers between {self.least_widths.tolist()} and {self.widths.tolist()} that "
                f"round_to={self._episode.config.round_to} allows; got {widths.tolist()}"
            )
        return self._try(widths.astype(np.int64), steps)

    def gated_loss(self, gates: np.ndarray) -> tuple[float, np.ndarray]:
        """Training loss on a new batch where every channel is multiplied by its gate, and its gradient, float64 [W].

        It counts as a training step. The network is left as it was.

        Args:
            gates: float [W]; 1 is a channel as it is, 0 one that its readers do not see.
        """
        gates = np.asarray(gates, dtype=np.float64)
        if gates.shape != self.group_of.shape:
            raise ValueError(f"there must be a gate for each of the {len(self.group_of)} channels; got {gates.shape}")
        return self._episode.gated_loss(gates, int(self._seeds.integers(2**62)))

    def train_gates(self, rule: str, steps: int, cost_target: float) -> np.ndarray:
        """Train the network with a gate on every channel, and return how open each is in the end, float64 [W].

        This is training of the episode's network, before its next step, and every step is counted. The next cut removes
        in each group the channels that are least open, whatever the criterion.

        Args:
            rule: Name in `prune_env.gates.GATES`, with options behind it.
            steps: Training steps, at least 1.
            cost_target: Cost that the gates are steered to.

        Raises:
            ValueError: If the rule is unknown or a number is out of range.
        """
        check_value("steps", steps, int, Range(1))
        return self._episode.train_gates(configured("gates", rule, GATES), steps, cost_target)

    def _try(self, widths: np.ndarray, steps: int | None) -> float:
        if steps is not None:
            check_value("steps", steps, int, Range(0))
        return self._episode.try_out(widths, int(self._seeds.integers(2**62)), steps)
