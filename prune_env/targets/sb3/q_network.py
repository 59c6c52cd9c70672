"""The network of DQN: a value for each action, of which the largest is taken."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from prune_env.targets.sb3.heads import Categorical, Head
from prune_env.targets.sb3.networks import AgentNet, widths_of


class QNet(AgentNet):
    """The networks of a `DQNPolicy`; its Q-network is the actor, and there is no other critic."""

    actor_name: ClassVar[str] = "q_net"
    critic_name: ClassVar[str | None] = None
    optimizer_names: ClassVar[tuple[str, ...]] = ("policy.optimizer",)

    @classmethod
    def places(cls, policy: Any) -> dict[str, str]:
        """Features extractor and Q-network."""
        return {"features_extractor": "q_net.features_extractor", "q_net": "q_net.q_net"}

    @classmethod
    def target_places(cls, policy: Any) -> list[tuple[str, str]]:
        """Their target networks."""
        return [("features_extractor", "q_net_target.features_extractor"), ("q_net", "q_net_target.q_net")]

    def temperature(self, x: Tensor) -> Tensor:
        """The mean over states of the standard deviation of Q over actions: how far apart actions are, a scalar."""
        return self._q(x).detach().std(1, correction=0).mean().clamp(min=1e-6)

    def heads(self, x: Tensor, temperature: Tensor | None = None) -> list[Head]:
        """The softmax of Q over the temperature; by default that of these states."""
        q = self._q(x)
        if temperature is None:
            temperature = q.detach().std(1, correction=0).mean().clamp(min=1e-6)
        return [Categorical(q / temperature)]

    def mode(self, x: Tensor) -> Tensor:
        """The action of the largest Q."""
        return self._q(x).argmax(1)

    def decide(self, drawn: list[Tensor]) -> Tensor:
        """The action."""
        return drawn[0]

    def values(self, x: Tensor, action: Tensor) -> list[Tensor]:
        """Q of all actions, [B, A]."""
        return [self._q(x)]

    def net_arch(self) -> list[int]:
        """Hidden widths."""
        return widths_of(self.get_submodule("q_net"))

    def _q(self, x: Tensor) -> Tensor:
        q: Tensor = self.get_submodule("q_net")(self.get_submodule("features_extractor")(x))
        return q
