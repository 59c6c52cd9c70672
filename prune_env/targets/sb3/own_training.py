"""Fine-tuning by an off-policy agent's own algorithm: SB3 trains the networks that are being pruned, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from prune_env.isolation import isolated
from prune_env.targets.base import BackwardHook
from prune_env.targets.sb3.networks import AgentNet, get_part
from prune_env.targets.sb3.source import AgentSource

WARM_UP = 1_000
"""Steps in the environment before the first update, by the agent as it is: a zip holds no replay."""
_MOST_REPLAY = 20_000  # transitions


class OwnTraining:
    """An agent of SB3 whose policy has the networks of an `AgentNet`, with a replay of its own.

    One step in the environment, then one update. The learning rates are those of the optimizers that are given, not of
    the agent's schedule, which has run down.

    Args:
        source: The agent, whose hyperparameters are taken.
        env: The environment, as SB3 takes it.
        seed: Of the environment and of random actions. What SB3 draws besides comes from the global random states.
    """

    @isolated()
    def __init__(self, source: AgentSource, env: Any, seed: int):
        from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit

        most = min(_MOST_REPLAY, int(source.data["buffer_size"]))
        self.agent = agent = source.load(env=env, buffer_size=most, verbose=0, tensorboard_log=None, learning_starts=0)
        agent.env.seed(seed)
        agent.action_space.seed(seed)
        agent._update_learning_rate = lambda optimizers: None
        self._callback: Any = None
        self._one_step = TrainFreq(1, TrainFrequencyUnit.STEP)

    def step(self, net: AgentNet, optimizers: Sequence[torch.optim.Optimizer], after_backward: BackwardHook) -> Tensor:
        """One step in the environment and one update of the networks.

        Args:
            net: The networks.
            optimizers: The agent's own, which belong to `net`.
            after_backward: Called with each of them before it steps.

        Returns:
            The critic's loss, a detached scalar.
        """
        agent = self.agent
        self._adopt(net, optimizers)
        if self._callback is None:
            _, self._callback = agent._setup_learn(WARM_UP, None, reset_num_timesteps=False)
        for _ in range(max(1, WARM_UP - agent.replay_buffer.size())):
            agent.collect_rollouts(
                agent.env, self._callback, self._one_step, agent.replay_buffer, agent.action_noise, learning_starts=0
            )
        hooks = [o.register_step_pre_hook(lambda opt, args, kwargs: after_backward(opt)) for o in optimizers]
        try:
            agent.train(gradient_steps=1, batch_size=agent.batch_size)
        finally:
            for hook in hooks:
                hook.remove()
        recorded = agent.logger.name_to_value
        return torch.tensor(float(recorded.get("train/critic_loss", recorded.get("train/loss", 0.0))))

    def _adopt(self, net: AgentNet, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Put the networks and their optimizers into the agent's policy, under all the names that they have there."""
        policy = self.agent.policy
        places = list(net.places(policy).items())
        pieces = [(get_part(net, name), place) for name, place in places]
        pieces += [
            (module, place)
            for (_, module), (_, place) in zip(net.target_networks, net.target_places(policy), strict=True)
        ]
        for piece, place in pieces:
            _replace(policy, get_part(policy, place), piece)
        for part in (getattr(policy, "critic", None), getattr(policy, "critic_target", None)):
            if part is not None:
                part.q_networks = [m for name, m in part._modules.items() if name != "features_extractor"]
        for name, optimizer in zip(net.optimizer_names, optimizers, strict=True):
            owner, _, attribute = name.removeprefix("policy.").rpartition(".")
            setattr(get_part(policy, owner) if owner else policy, attribute, optimizer)
        self.agent._create_aliases()


def _replace(root: nn.Module, old: Any, new: Any) -> None:
    """Replace a module or parameter wherever a model has it."""
    if old is new:
        return
    for module in list(root.modules()):
        register: dict[str, Any] = module._parameters if isinstance(new, nn.Parameter) else module._modules
        for name, part in list(register.items()):
            if part is old:
                register[name] = new
