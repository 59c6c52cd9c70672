"""Networks of PPO and A2C: a policy and a value network behind one features extractor, or behind one each."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from prune_env.targets.sb3.heads import Bernoulli, Categorical, Gaussian, Head, exploration_std, state_dependent
from prune_env.targets.sb3.networks import AgentNet, tied, widths_of


class OnPolicyNet(AgentNet):
    """The networks of an `ActorCriticPolicy`."""

    optimizer_names: ClassVar[tuple[str, ...]] = ("policy.optimizer",)

    def __init__(self, policy: Any):
        super().__init__(policy)
        self._use_sde = policy.use_sde
        self._use_expln = getattr(policy.action_dist, "use_expln", False)

    @classmethod
    def places(cls, policy: Any) -> dict[str, str]:
        """Policy and value network, and the layers that read them."""
        places = {
            "features_extractor": "pi_features_extractor",
            "actor.policy_net": "mlp_extractor.policy_net",
            "actor.action_net": "action_net",
            "critic.value_net": "mlp_extractor.value_net",
            "critic.output": "value_net",
        }
        if isinstance(getattr(policy, "log_std", None), nn.Parameter):
            places["actor.log_std"] = "log_std"
        if not policy.share_features_extractor:
            places["critic_features_extractor"] = "vf_features_extractor"
        return places

    def heads(self, x: Tensor, temperature: Tensor | None = None) -> list[Head]:
        """One head, or one for each dimension of several discrete actions."""
        actor: Any = self.actor
        latent = actor.policy_net(self.get_submodule("features_extractor")(x))
        output = actor.action_net(latent)
        if self._use_sde:
            return [state_dependent(output, latent, exploration_std(actor.log_std, self._use_expln))]
        if hasattr(self.action_space, "low"):
            return [Gaussian(output, actor.log_std.exp().expand_as(output))]
        if hasattr(self.action_space, "nvec"):
            return [Categorical(logits) for logits in output.split(self.action_space.nvec.tolist(), dim=1)]
        if type(self.action_space).__name__ == "MultiBinary":
            return [Bernoulli(output)]
        return [Categorical(output)]

    def decide(self, drawn: list[Tensor]) -> Tensor:
        """Several discrete actions beside each other; squashed where gSDE does so."""
        if hasattr(self.action_space, "nvec"):
            return torch.stack(drawn, dim=1)
        return drawn[0].tanh() if self._squash else drawn[0]

    def values(self, x: Tensor, action: Tensor) -> list[Tensor]:
        """The value of the state, [B, 1]; it does not depend on the action."""
        critic: Any = self.critic
        return [critic.output(critic.value_net(self.critic_features()(x)))]

    def ties(self, x: Tensor, action: Tensor) -> list[Tensor]:
        """Two features extractors have one description."""
        if not (self.has_own_critic_features and self._is_cnn("features_extractor")):
            return []
        return tied([self.get_submodule("features_extractor"), self.critic_features()], x)

    def net_arch(self) -> dict[str, list[int]]:
        """Widths of policy and value network."""
        actor: Any = self.actor
        critic: Any = self.critic
        return {"pi": widths_of(actor.policy_net, outputs=True), "vf": widths_of(critic.value_net, outputs=True)}
