"""Networks of SAC, TQC, TD3 and DDPG: an actor, and critics that read observation and action."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from prune_env.targets.sb3.heads import Gaussian, Head, exploration_std, state_dependent
from prune_env.targets.sb3.networks import AgentNet, tied, widths_of

_LOG_STD = (-20, 2)  # the range to which SB3 clamps what SAC's actor says
NOISE = 0.1
"""Standard deviation of the Gaussian that stands for the action of a deterministic actor, in the unit of actions in
[-1, 1]: the exploration noise of TD3's paper (arXiv 1802.09477)."""


class ActorCriticNet(AgentNet):
    """The networks of a policy with `actor`, `critic` and `critic_target`."""

    optimizer_names: ClassVar[tuple[str, ...]] = ("actor.optimizer", "critic.optimizer")

    def __init__(self, policy: Any):
        super().__init__(policy)
        self._critics = [name for name in policy.critic._modules if name != "features_extractor"]
        self._use_sde = getattr(policy.actor, "use_sde", False)
        self._use_expln = getattr(policy.actor, "use_expln", False)

    @classmethod
    def places(cls, policy: Any) -> dict[str, str]:
        """Every part of actor and critic."""
        places = {"features_extractor": "actor.features_extractor"}
        own = [*policy.actor._modules, *policy.actor._parameters]
        places |= {f"actor.{name}": f"actor.{name}" for name in own if name != "features_extractor"}
        if not policy.share_features_extractor:
            places["critic_features_extractor"] = "critic.features_extractor"
        return places | {f"critic.{name}": f"critic.{name}" for name in policy.critic._modules if _is_critic(name)}

    @classmethod
    def target_places(cls, policy: Any) -> list[tuple[str, str]]:
        """Those of the critics, and of the actor for TD3 and DDPG."""
        own = "features_extractor" if policy.share_features_extractor else "critic_features_extractor"
        places = [(f"critic.{name}", f"critic_target.{name}") for name in policy.critic._modules if _is_critic(name)]
        shared = False
        if hasattr(policy, "actor_target"):
            places += [("features_extractor", "actor_target.features_extractor"), ("actor.mu", "actor_target.mu")]
            shared = policy.actor_target.features_extractor is policy.critic_target.features_extractor
        return places if shared else [*places, (own, "critic_target.features_extractor")]

    @property
    def is_deterministic(self) -> bool:
        """Whether the actor gives an action, not a distribution."""
        return not hasattr(self.actor, "latent_pi")

    def heads(self, x: Tensor, temperature: Tensor | None = None) -> list[Head]:
        """The Gaussian before the tanh; for a deterministic actor one around the action, with the deviation `NOISE`."""
        actor: Any = self.actor
        features = self.get_submodule("features_extractor")(x)
        if self.is_deterministic:
            mean = actor.mu(features)
            return [Gaussian(mean, torch.full_like(mean, NOISE))]
        latent = actor.latent_pi(features)
        mean = actor.mu(latent)
        if self._use_sde:
            return [state_dependent(mean, latent, exploration_std(actor.log_std, self._use_expln))]
        return [Gaussian(mean, actor.log_std(latent).clamp(*_LOG_STD).exp())]

    def decide(self, drawn: list[Tensor]) -> Tensor:
        """Actions in [-1, 1]."""
        return drawn[0].clamp(-1, 1) if self.is_deterministic else drawn[0].tanh()

    def values(self, x: Tensor, action: Tensor) -> list[Tensor]:
        """What each critic says, [B, 1], or [B, quantiles] for TQC."""
        read = torch.cat([self.critic_features()(x), action], dim=1)
        return [critic(read) for critic in self._critic_modules()]

    def ties(self, x: Tensor, action: Tensor) -> list[Tensor]:
        """Critics have one description, and so have the features extractors of actor and critic."""
        read = torch.cat([self.critic_features()(x), action], dim=1)
        ties = tied(self._critic_modules(), read)
        if self.has_own_critic_features and self._is_cnn("features_extractor"):
            ties += tied([self.get_submodule("features_extractor"), self.critic_features()], x)
        return ties

    def net_arch(self) -> dict[str, list[int]]:
        """Widths of the actor and of every critic."""
        actor: Any = self.actor
        pi = widths_of(actor.mu) if self.is_deterministic else widths_of(actor.latent_pi, outputs=True)
        return {"pi": pi, "qf": widths_of(self._critic_modules()[0])}

    def _critic_modules(self) -> list[nn.Module]:
        critic: Any = self.critic
        return [critic.get_submodule(name) for name in self._critics]


def _is_critic(name: str) -> bool:
    return name != "features_extractor"
