"""SB3 policies over groups: one architecture for actors, critics and Q functions; see `group_networks`.

Letters: B observations, G groups, F columns, H hidden units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy, ContinuousCritic
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.sac.policies import Actor as SACActor
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import Actor as TD3Actor
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from prune_env.agents.group_networks import GroupEncoder, GroupOutput, SetOutput, calibrate, summarise
from prune_env.envs import Column
from prune_env.envs.observation import PRESENT


class _Latents(nn.Module):
    """SB3's mlp_extractor: latent vectors of the actor, [B, G, H + 1], and of the critic, [B, H]."""

    def __init__(self, groups: int, columns: int, hidden: int, positions: int):
        super().__init__()
        self.latent_dim_pi, self.latent_dim_vf = groups * hidden, hidden
        self.actor = GroupEncoder(columns, hidden, positions)
        self.critic = GroupEncoder(columns, hidden, positions)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Latent vectors of actor and critic."""
        return self.forward_actor(observations), self.forward_critic(observations)

    def forward_actor(self, observations: Tensor) -> Tensor:
        """[B, G * F] to [B, G, H + 1]."""
        return self.actor(observations)

    def forward_critic(self, observations: Tensor) -> Tensor:
        """[B, G * F] to [B, H]."""
        return summarise(self.critic(observations))


class Grouped:
    """What policies over groups have in common, beside a class of SB3's.

    Args:
        *args: As for the class of SB3's.
        hidden: H.
        position_embedding: Learn an embedding of each group's position: for one kind of network, whose groups differ in
            more than their columns tell.
        **kwargs: As for the class of SB3's.
    """

    def __init__(self, *args: Any, hidden: int = 64, position_embedding: bool = False, **kwargs: Any):
        self._hidden, self._position_embedding = hidden, position_embedding
        super().__init__(*args, **kwargs)

    def _shape(self) -> tuple[int, int, int]:
        """Columns, hidden units, and positions to embed, as `GroupEncoder` takes them."""
        groups = self.action_space.shape[0]  # type: ignore[attr-defined]
        columns = self.observation_space.shape[0] // groups  # type: ignore[attr-defined]
        return columns, self._hidden, groups if self._position_embedding else 0

    def calibrate(self, observations: Tensor, columns: Sequence[Column] = ()) -> None:
        """Standardise every column over all groups of observations [B, G * F] of dense networks, from now on.

        Args:
            observations: The observations.
            columns: What their columns are; of those with the scale of the loss, differences are read only.
        """
        assert isinstance(self, nn.Module)
        names = [column.name for column in columns]
        relative = [i for i, column in enumerate(columns) if column.relative]
        calibrate(self, observations, relative, names.index(PRESENT.name) if PRESENT.name in names else None)

    @property
    def fits_any_network(self) -> bool:
        """Whether it depends on no position of a group, so that it acts on any number of groups."""
        return not self._position_embedding

    def acting(self) -> tuple[GroupEncoder, GroupOutput, bool]:
        """What chooses the mean action: encoder, output, and whether a tanh follows."""
        raise NotImplementedError

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {"hidden": self._hidden, "position_embedding": self._position_embedding}
        return {**super()._get_constructor_parameters(), **own}  # type: ignore[misc]


class GroupPolicy(Grouped, ActorCriticPolicy):
    """An actor-critic over groups, for PPO, A2C and TRPO."""

    def _build_mlp_extractor(self) -> None:
        groups = self.action_space.shape[0]  # type: ignore[index]
        self.mlp_extractor = _Latents(groups, *self._shape())  # type: ignore[assignment]

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self.action_net = GroupOutput(self._hidden)
        # The base class built its optimizer on the head that was just replaced.
        self.optimizer = self.optimizer_class(self.parameters(), **{"lr": lr_schedule(1), **self.optimizer_kwargs})

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> Distribution:
        """The action's distribution; groups that are not there have the same one whatever the policy learns."""
        assert isinstance(self.action_dist, DiagGaussianDistribution)
        return self.action_dist.proba_distribution(self.action_net(latent_pi), self.log_std * latent_pi[..., -1])

    def acting(self) -> tuple[GroupEncoder, GroupOutput, bool]:
        """The actor's encoder and output."""
        assert isinstance(self.mlp_extractor, _Latents) and isinstance(self.action_net, GroupOutput)
        return self.mlp_extractor.actor, self.action_net, False


class _GroupCritics(Grouped):
    """Q functions over groups, in the place of those that SB3 makes."""

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> ContinuousCritic:
        """Q functions that read a group's action as one more column."""
        critic: ContinuousCritic = super().make_critic(features_extractor)  # type: ignore[misc]
        outputs = getattr(critic, "n_quantiles", 1)
        columns, hidden, positions = self._shape()
        for i in range(len(critic.q_networks)):
            encoder = GroupEncoder(columns, hidden, positions, actions=True)
            critic.q_networks[i] = nn.Sequential(encoder, SetOutput(hidden, outputs))
            critic.add_module(f"qf{i}", critic.q_networks[i])
        return critic.to(self.device)  # type: ignore[attr-defined]


class GroupSACParts(_GroupCritics):
    """Actor and Q functions of SAC's kind."""

    actor: SACActor

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> SACActor:
        """An actor with a mean and a standard deviation for each group."""
        actor: SACActor = super().make_actor(features_extractor)  # type: ignore[misc]
        encoder = GroupEncoder(*self._shape())
        actor.latent_pi = nn.Sequential(encoder)
        actor.mu, actor.log_std = GroupOutput(self._hidden), GroupOutput(self._hidden)  # type: ignore[assignment]
        return actor.to(self.device)  # type: ignore[attr-defined]

    def acting(self) -> tuple[GroupEncoder, GroupOutput, bool]:
        """The actor's encoder and its output of means."""
        encoder, output = self.actor.latent_pi[0], self.actor.mu
        assert isinstance(encoder, GroupEncoder) and isinstance(output, GroupOutput)
        return encoder, output, True


class GroupSACPolicy(GroupSACParts, SACPolicy):
    """A soft actor-critic over groups."""


class GroupTD3Policy(_GroupCritics, TD3Policy):
    """A deterministic actor and Q functions over groups, for TD3 and DDPG."""

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> TD3Actor:
        """An actor with one action for each group."""
        actor = super().make_actor(features_extractor)
        actor.mu = nn.Sequential(GroupEncoder(*self._shape()), GroupOutput(self._hidden), nn.Tanh())
        return actor.to(self.device)

    def acting(self) -> tuple[GroupEncoder, GroupOutput, bool]:
        """The actor's encoder and output."""
        encoder, output = self.actor.mu[0], self.actor.mu[1]
        assert isinstance(encoder, GroupEncoder) and isinstance(output, GroupOutput)
        return encoder, output, True


def mean_actions(policy: Grouped, observations: Tensor) -> Tensor:
    """The actions [B, G] in [-1, 1] that a policy takes without noise, with gradients."""
    encoder, output, squashed = policy.acting()
    actions = output(encoder(observations))
    return torch.tanh(actions) if squashed else actions
