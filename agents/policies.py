"""An actor-critic over groups: weights are shared, and a mean over all groups gives context (Deep Sets, 1703.06114).

A policy over a flat observation overfits to group positions, and with them to the few networks that it was trained on.
Shared weights are fewer, and all of them are trained on every group of every network.

Letters: B observations, G groups, F columns, H hidden units.
"""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn


class GroupEncoder(nn.Module):
    """Two layers with shared weights; the second also reads the mean of the first over all groups.

    Args:
        columns: F.
        hidden: H.
        positions: G for a learned embedding of each group's position; 0 for none, which makes the encoder equivariant
            to permutations of the groups.
    """

    def __init__(self, columns: int, hidden: int, positions: int = 0):
        super().__init__()
        self.alone = nn.Linear(2 * columns, hidden)
        self.together = nn.Linear(2 * hidden, hidden)
        self.position_embedding = nn.Parameter(torch.zeros(positions, hidden)) if positions else None

    def forward(self, table: Tensor) -> Tensor:
        """[B, G, F] to [B, G, H]."""
        relative = table - table.mean(dim=1, keepdim=True)
        features = self.alone(torch.cat([table, relative], dim=-1))
        if self.position_embedding is not None:
            features = features + self.position_embedding
        alone = torch.tanh(features)
        summary = alone.mean(dim=1, keepdim=True).expand_as(alone)
        return torch.tanh(self.together(torch.cat([alone, summary], dim=-1)))


class GroupExtractor(nn.Module):
    """SB3's mlp_extractor: latent vectors of the actor, [B, G * H], and of the critic, [B, H].

    Args:
        groups: G.
        columns: F.
        hidden: H.
        position_embedding: Whether each group's position has a learned embedding.
    """

    def __init__(self, groups: int, columns: int, hidden: int, position_embedding: bool = False):
        super().__init__()
        self.groups, self.columns = groups, columns
        self.latent_dim_pi, self.latent_dim_vf = groups * hidden, hidden
        positions = groups if position_embedding else 0
        self.actor = GroupEncoder(columns, hidden, positions)
        self.critic = GroupEncoder(columns, hidden, positions)
        self.register_buffer("shift", torch.zeros(columns))
        self.register_buffer("scale", torch.ones(columns))

    def calibrate(self, observations: Tensor) -> None:
        """Standardise every column over all groups of these observations, [B, G * F], from now on."""
        table = observations.reshape(-1, self.columns)
        self.shift = table.mean(0)
        spread = table.std(0)
        # Columns that are constant over dense networks, such as progress, vary in later rounds: they keep their scale.
        self.scale = torch.where(spread < 1e-6, 1.0, spread.clamp_min(1e-2))

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Latent vectors of actor and critic."""
        return self.forward_actor(observations), self.forward_critic(observations)

    def forward_actor(self, observations: Tensor) -> Tensor:
        """[B, G * F] to [B, G * H]."""
        return self.actor(self._table(observations)).flatten(1)

    def forward_critic(self, observations: Tensor) -> Tensor:
        """[B, G * F] to [B, H]."""
        return self.critic(self._table(observations)).mean(dim=1)

    def _table(self, observations: Tensor) -> Tensor:
        return (observations.reshape(-1, self.groups, self.columns) - self.shift) / self.scale


class GroupHead(nn.Module):
    """One number for each group, [B, G * H] to [B, G], by the same linear map."""

    def __init__(self, groups: int, hidden: int):
        super().__init__()
        self.groups = groups
        self.linear = nn.Linear(hidden, 1)

    def forward(self, latent: Tensor) -> Tensor:
        """The means of the action."""
        return self.linear(latent.reshape(len(latent), self.groups, -1)).squeeze(-1)


class GroupPolicy(ActorCriticPolicy):
    """An SB3 actor-critic policy over groups, after Deep Sets (arXiv 1703.06114); its action is one number per group.

    Args:
        *args: As for `ActorCriticPolicy`.
        hidden: H.
        position_embedding: Learn an embedding of each group's position: for one kind of network, whose groups differ in
            more than their columns tell.
        **kwargs: As for `ActorCriticPolicy`.
    """

    def __init__(self, *args: Any, hidden: int = 64, position_embedding: bool = False, **kwargs: Any):
        self._hidden, self._position_embedding = hidden, position_embedding
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        groups = self.action_space.shape[0]  # type: ignore[index]
        self.mlp_extractor = GroupExtractor(  # type: ignore[assignment]
            groups, self.features_dim // groups, self._hidden, self._position_embedding
        )

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self.action_net = GroupHead(self.action_space.shape[0], self._hidden)  # type: ignore[index]
        nn.init.orthogonal_(self.action_net.linear.weight, gain=0.01)
        nn.init.zeros_(self.action_net.linear.bias)
        # The base class built its optimizer on the head that was just replaced.
        self.optimizer = self.optimizer_class(self.parameters(), **{"lr": lr_schedule(1), **self.optimizer_kwargs})

    def calibrate(self, observations: Tensor) -> None:
        """Standardise every column over all groups of these observations, [B, G * F], from now on."""
        extractor = self.mlp_extractor
        assert isinstance(extractor, GroupExtractor)
        extractor.calibrate(observations)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {"hidden": self._hidden, "position_embedding": self._position_embedding}
        return {**super()._get_constructor_parameters(), **own}
