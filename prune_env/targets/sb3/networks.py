"""The networks of an agent as one model: features extractors, actor and critic under names that all algorithms share.

SB3 keeps target networks and optimizers inside the policy, where they would be counted and traced. The model here holds
the policy's own modules without those, so that counting, saving and pruning see what acts and what judges.

Letters: B batch, A actions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from prune_env.targets.sb3.heads import Head

TargetNetworks = tuple[tuple[str, nn.Module], ...]


class Parts(nn.Module):
    """Modules and parameters by name, without a forward pass of its own."""


class AgentNet(nn.Module):
    """The networks of one policy; a subclass for each kind of algorithm says where they are and what they compute.

    Args:
        policy: SB3's policy. Its modules become parts of this model.

    Attributes:
        target_networks: Target networks, as (name of the part that they mirror, module); no submodules.
        agent_optimizers: SB3's own optimizers, whose states follow every cut, in the order of `optimizer_names`.
        observation_space: Of the policy.
        action_space: Of the policy.
        first_learning_rate: With which the agent began to learn.
    """

    actor_name: ClassVar[str] = "actor"
    """Component that acts."""
    critic_name: ClassVar[str | None] = "critic"
    """Component that judges; None where there is none."""
    optimizer_names: ClassVar[tuple[str, ...]]
    """Where SB3's agent has its optimizers, in the terms of its zip."""

    def __init__(self, policy: Any):
        super().__init__()
        for name, place in self.places(policy).items():
            _put(self, name, get_part(policy, place))
        self.target_networks: TargetNetworks = tuple(
            (name, get_part(policy, place)) for name, place in self.target_places(policy)
        )
        self.agent_optimizers: list[torch.optim.Optimizer] = [
            get_part(policy, name.removeprefix("policy.")) for name in self.optimizer_names
        ]
        self.first_learning_rate = float(self.agent_optimizers[0].param_groups[0]["lr"])
        self.observation_space, self.action_space = policy.observation_space, policy.action_space
        self._normalize_images, self._squash = policy.normalize_images, policy.squash_output
        if hasattr(self.action_space, "low"):
            for name in ("low", "high"):
                bound = torch.as_tensor(getattr(self.action_space, name), dtype=torch.float32)
                self.register_buffer(f"_{name}", bound, persistent=False)

    # ---------------------------------------------------------------- what subclasses say
    @classmethod
    def places(cls, policy: Any) -> dict[str, str]:
        """Where the policy has each part: name here -> name there, of modules and parameters."""
        raise NotImplementedError

    @classmethod
    def target_places(cls, policy: Any) -> list[tuple[str, str]]:
        """Target networks: the part that each mirrors -> its name in the policy."""
        return []

    def heads(self, x: Tensor, temperature: Tensor | None = None) -> list[Head]:
        """Distributions of the actions for preprocessed observations."""
        raise NotImplementedError

    def decide(self, drawn: list[Tensor]) -> Tensor:
        """Actions of modes or samples of the heads, before they are clipped or unscaled."""
        raise NotImplementedError

    def values(self, x: Tensor, action: Tensor) -> list[Tensor]:
        """What the critic says, for preprocessed observations and actions as the critic reads them."""
        return []

    def ties(self, x: Tensor, action: Tensor) -> list[Tensor]:
        """Sums of products of channels that must be cut together, as SB3 describes them by the same widths."""
        return []

    def net_arch(self) -> Any:
        """The widths, as SB3's policies take them."""
        raise NotImplementedError

    # ---------------------------------------------------------------- what all share
    def components(self, critics: bool) -> tuple[str, ...]:
        """Parts whose channels may go: extractors of SB3's CNN, as the widths of others cannot be described; the actor.

        Args:
            critics: The critics too.
        """
        own, of_critic = "features_extractor", "critic_features_extractor"
        names = [name for name in (own, self.actor_name, of_critic) if name == self.actor_name or self._is_cnn(name)]
        return tuple([*names, self.critic_name] if critics and self.critic_name is not None else names)

    def _is_cnn(self, name: str) -> bool:
        return hasattr(self._modules.get(name), "cnn")

    def preprocess(self, observation: Tensor) -> Tensor:
        """Observations as the features extractors read them: images in [0, 1], numbers of choices one-hot."""
        from stable_baselines3.common.preprocessing import preprocess_obs

        x = preprocess_obs(observation, self.observation_space, normalize_images=self._normalize_images)
        assert isinstance(x, Tensor)  # spaces of dicts are refused
        return x

    def mode(self, x: Tensor) -> Tensor:
        """Deterministic actions for preprocessed observations, before they are clipped or unscaled."""
        return self.decide([head.mode() for head in self.heads(x)])

    def explore(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Sampled actions for preprocessed observations, in the environment's units, [B, ...]."""
        action = self.to_environment(self.decide([head.sample(generator) for head in self.heads(x)]))
        return action.reshape(-1, *self.action_space.shape)

    def temperature(self, x: Tensor) -> Tensor | None:
        """Scale on which `heads` reads numbers that are no probabilities; None where they are."""
        return None

    def critic_action(self, x: Tensor) -> Tensor:
        """The deterministic action as a critic reads it, squashed but not unscaled, [B, A]."""
        return self.mode(x)

    def action(self, observation: Tensor) -> Tensor:
        """What SB3's `predict(observation, deterministic=True)` computes, in the environment's units, [B, ...]."""
        action = self.to_environment(self.mode(self.preprocess(observation)))
        return action.reshape(-1, *self.action_space.shape)

    def to_environment(self, action: Tensor) -> Tensor:
        """Actions in the environment's units: unscaled if squashed, clipped otherwise; discrete ones as they are."""
        if not hasattr(self.action_space, "low"):
            return action
        low, high = (self.get_buffer(name).reshape(-1) for name in ("_low", "_high"))
        if self._squash:
            return low + 0.5 * (action + 1.0) * (high - low)
        return torch.minimum(torch.maximum(action, low), high)

    @torch.no_grad()
    def move_target_networks(self, share: float) -> None:
        """Move target networks by a share of the way to the networks that they mirror, where these have gradients."""
        for name, module in self.target_networks:
            for target, online in zip(module.parameters(), self.get_submodule(name).parameters(), strict=True):
                if online.grad is not None:
                    target.lerp_(online, share)

    def critic_features(self) -> nn.Module:
        """What the critic reads observations through."""
        return self.get_submodule("critic_features_extractor" if self.has_own_critic_features else "features_extractor")

    @property
    def has_own_critic_features(self) -> bool:
        """Whether the critic has a features extractor of its own."""
        return "critic_features_extractor" in self._modules


def chain(module: nn.Module, x: Tensor) -> Iterator[Tensor]:
    """The outputs of all layers of a sequence, or of NatureCNN's two sequences."""
    layers: Any = module
    if hasattr(module, "cnn"):
        layers = [layer for part in (module.cnn, module.linear) for layer in cast(nn.Sequential, part)]
    for layer in layers:
        x = layer(x)
        yield x


def tied(modules: list[nn.Module], x: Tensor) -> list[Tensor]:
    """Sums over products of the activations of parallel networks of one shape, layer by layer.

    They do not change if all lose or exchange the same channels, and do if one alone does.
    """
    if len(modules) < 2:
        return []
    outputs = [list(chain(module, x)) for module in modules]
    layers = zip(*outputs, strict=True)
    return [torch.stack([(one * other).sum() for one, other in pairwise(layer)]).sum() for layer in layers]


def widths_of(layers: nn.Module, outputs: bool = False) -> list[int]:
    """Outputs of the linear layers of a sequence; without the last one unless `outputs`."""
    widths = [layer.out_features for layer in layers.modules() if isinstance(layer, nn.Linear)]
    return widths if outputs else widths[:-1]


def policy_state(net: AgentNet, policy: Any) -> Mapping[str, Tensor]:
    """The state of a policy of SB3 with the tensors of `net` and of its target networks, by SB3's names.

    Args:
        net: The networks.
        policy: A policy of the same kind, of any widths.
    """
    ours = net.state_dict()
    state: dict[str, Tensor] = {}
    for name, place in net.places(policy).items():
        own = {key: tensor for key, tensor in ours.items() if key == name or key.startswith(f"{name}.")}
        state |= {place + key.removeprefix(name): tensor for key, tensor in own.items()}
    for (_, module), (_, place) in zip(net.target_networks, net.target_places(policy), strict=True):
        state |= {f"{place}.{key}": tensor for key, tensor in module.state_dict().items()}
    there = policy.state_dict(keep_vars=True)
    known = {id(there[key]): tensor for key, tensor in state.items()}  # what a policy shares has several names there
    return {key: state[key] if key in state else known[id(tensor)] for key, tensor in there.items()}


def get_part(root: Any, path: str) -> Any:
    """A module, parameter or attribute by its qualified name."""
    for name in path.split("."):
        root = getattr(root, name)
    return root


def _put(root: nn.Module, path: str, part: Any) -> None:
    *outer, last = path.split(".")
    for name in outer:
        if name not in root._modules:
            root.add_module(name, Parts())
        root = root.get_submodule(name)
    if isinstance(part, nn.Parameter):
        root.register_parameter(last, part)
    else:
        root.add_module(last, part)
