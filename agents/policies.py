"""An actor-critic that treats groups alike: one small network reads every group, next to a summary of all of them.

A policy over a flat observation learns each group's place by heart, and with it the few networks that it was trained
on. Sharing the weights over groups leaves fewer of them, all of which see every group of every network.

Letters: B observations, G groups, F columns, H hidden units.
"""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn


class GroupEncoder(nn.Module):
    """Two layers with shared weights; the second also sees the mean of the first over all groups.

    Args:
        columns: F.
        hidden: H.
        places: G, to learn also what each group's place means; 0 treats groups by what is seen of them alone.
    """

    def __init__(self, columns: int, hidden: int, places: int = 0):
        super().__init__()
        self.alone = nn.Linear(2 * columns, hidden)
        self.together = nn.Linear(2 * hidden, hidden)
        self.place = nn.Parameter(torch.zeros(places, hidden)) if places else None

    def forward(self, table: Tensor) -> Tensor:
        """[B, G, F] to [B, G, H]."""
        relative = table - table.mean(dim=1, keepdim=True)
        seen = self.alone(torch.cat([table, relative], dim=-1))
        alone = torch.tanh(seen if self.place is None else seen + self.place)
        summary = alone.mean(dim=1, keepdim=True).expand_as(alone)
        return torch.tanh(self.together(torch.cat([alone, summary], dim=-1)))


class GroupExtractor(nn.Module):
    """What SB3 calls an mlp_extractor: latent vectors of actor, [B, G * H], and critic, [B, H].

    Args:
        groups: G.
        columns: F.
        hidden: H.
        places: Whether each group's place is learnt too.
    """

    def __init__(self, groups: int, columns: int, hidden: int, places: bool = False):
        super().__init__()
        self.groups, self.columns = groups, columns
        self.latent_dim_pi, self.latent_dim_vf = groups * hidden, hidden
        self.actor = GroupEncoder(columns, hidden, groups if places else 0)
        self.critic = GroupEncoder(columns, hidden, groups if places else 0)
        self.register_buffer("shift", torch.zeros(columns))
        self.register_buffer("scale", torch.ones(columns))

    def calibrate(self, observations: Tensor) -> None:
        """Standardise every column over all groups of these observations, [B, G * F], from now on."""
        table = observations.reshape(-1, self.columns)
        self.shift = table.mean(0)
        spread = table.std(0)
        # What does not vary among dense networks (progress, say) varies in later rounds, and must not be blown up then.
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
    """An SB3 actor-critic policy over groups; its action is one number for each of them.

    Args:
        *args: As for `ActorCriticPolicy`.
        hidden: H.
        places: Learn also what each group's place means: for targets whose groups do different things.
        **kwargs: As for `ActorCriticPolicy`.
    """

    def __init__(self, *args: Any, hidden: int = 64, places: bool = False, **kwargs: Any):
        self._hidden, self._places = hidden, places
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        groups = self.action_space.shape[0]  # type: ignore[index]
        self.mlp_extractor = GroupExtractor(  # type: ignore[assignment]
            groups, self.features_dim // groups, self._hidden, self._places
        )

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self.action_net = GroupHead(self.action_space.shape[0], self._hidden)  # type: ignore[index]
        nn.init.orthogonal_(self.action_net.linear.weight, gain=0.01)
        nn.init.zeros_(self.action_net.linear.bias)
        # The base class has made the optimizer for the head that was just replaced.
        self.optimizer = self.optimizer_class(self.parameters(), **{"lr": lr_schedule(1), **self.optimizer_kwargs})

    def calibrate(self, observations: Tensor) -> None:
        """Standardise every column over all groups of these observations, [B, G * F], from now on."""
        extractor = self.mlp_extractor
        assert isinstance(extractor, GroupExtractor)
        extractor.calibrate(observations)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "hidden": self._hidden, "places": self._places}
