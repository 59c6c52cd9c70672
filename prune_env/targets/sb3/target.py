"""A saved Stable-Baselines3 agent as a target: its policy is pruned, and learns from the dense one while it acts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from prune_env.isolation import isolated
from prune_env.storage import canonical_json
from prune_env.targets.base import BackwardHook, DenseTraining, EntryPoint, PoolSplit, Split, Target
from prune_env.targets.sb3.acting import deterministic, example_of, sampling
from prune_env.targets.sb3.distillation import distillation_loss, distillation_step, likelihood_loss
from prune_env.targets.sb3.loading import dense_networks, networks_of, simulator_of
from prune_env.targets.sb3.networks import AgentNet
from prune_env.targets.sb3.own_training import OwnTraining
from prune_env.targets.sb3.saving import agent_of, zip_of
from prune_env.targets.sb3.simulation import Actor, Normalizer, Simulator, make_env
from prune_env.targets.sb3.source import AgentSource, read_bytes
from prune_env.targets.sb3.states import States, StateStream, fixed_seeds
from prune_env.targets.transfer import to_device
from prune_env.validation import Range, check_value

SHIPPED = Path(__file__).parent / "agents" / "ppo-cartpole.zip"
"""A PPO agent of CartPole-v1 that comes with the package: what the target is without an agent of one's own."""
FINE_TUNING = ("distillation", "training")


class SB3Agent(Target):
    """An agent of PPO, A2C, SAC, TD3, DDPG, DQN or sb3-contrib's TQC, with an MLP or a CNN policy.

    The model is an `AgentNet`: the modules of SB3's policy under the names `features_extractor`, `actor` (`q_net` for
    DQN) and `critic`. Target networks and the states of SB3's optimizers follow every cut. The score is the mean return
    of deterministic actions over episodes with fixed seeds, disjoint between validation and test; the floor is that of
    random actions over the same seeds. The cost is that of acting: features extractor and actor.

    Critics keep their channels unless `critics` is True: they cost nothing in acting, and further training is better
    for them. They are cut where they read what a shared features extractor no longer gives. What SB3 describes by one
    list of widths is cut alike: the several critics of an agent, and the features extractors of actor and critic.

    Fine-tuning is distillation: the policy learns the dense agent's on states that it visits itself (DAgger, arXiv
    1011.0686); critics learn what the dense ones say where they are cut. Off-policy agents can go on by their own
    algorithm instead. Importance is measured by gradients of the log-probability of sampled actions, see
    `likelihood_loss`.

    Args:
        agent: Path of a zip that SB3's `model.save` wrote, or the agent itself; by default one that comes with the
            package.
        env: Gymnasium's id of the environment in which it is scored; of "CartPole-v1" for the agent that ships.
        env_kwargs: Arguments of the environment.
        trust: Whether the file may be unpickled, which runs what is in it. An agent that is passed itself needs none.
        vec_normalize: Path of the statistics that VecNormalize saved, if the agent was trained behind it. The file is
            unpickled too.
        critics: Whether critics are pruned.
        fine_tuning: "distillation", or "training" by the agent's own algorithm (off-policy ones).
        episodes: Episodes over which the score is averaged.
        learning_rate: Of distillation.
        batch_size: States in a batch of distillation.
        agents: Paths of several agents with the same number of groups, instead of `agent`: pools for training take
            those at even places, held-out pools the others.

    Raises:
        ValueError: If an option does not fit, or the file is not trusted, is no such agent, or does not fit the
            environment.
        ImportError: If the agent is one of sb3-contrib, which is not installed.
    """

    unit = "return"
    repair = "mean"
    dense_training = DenseTraining(steps=0, importance_passes=100)

    @isolated()
    def __init__(
        self,
        agent: Any = None,
        env: str | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        trust: bool = False,
        vec_normalize: str | Path | None = None,
        critics: bool = False,
        fine_tuning: str = "distillation",
        episodes: int = 20,
        learning_rate: float = 1e-3,
        batch_size: int = 128,
        agents: Sequence[str] = (),
    ):
        self._agents = tuple(agents)
        if agent is None and agents:
            agent = agents[0]
        if agent is None:
            agent, env, trust = SHIPPED, env or "CartPole-v1", True
        if env is None:
            raise ValueError("give the environment in which the agent is scored: env (--env), such as 'CartPole-v1'")
        check_value("env", env, str)
        check_value("episodes", episodes, int, Range(1, 1_000_000, "[]"))
        check_value("batch_size", batch_size, int, Range(1))
        check_value("learning_rate", learning_rate, float, Range(0, ends="()"))
        check_value("fine_tuning", fine_tuning, str, FINE_TUNING)
        self.env, self.env_kwargs = env, dict(env_kwargs or {})
        self.critics, self.fine_tuning, self.episodes = bool(critics), fine_tuning, episodes
        self.learning_rate, self.batch_size = float(learning_rate), batch_size
        self.source = AgentSource.of(agent, trust)
        self.vec_normalize = None
        if vec_normalize is not None:
            if not (trust or not isinstance(agent, (str, Path))):
                raise ValueError(f"{vec_normalize} is unpickled: say that you trust it by trust=True (--trust)")
            self.vec_normalize = read_bytes(vec_normalize, "file of VecNormalize")
        if fine_tuning == "training" and not self.is_off_policy:
            raise ValueError(
                f"{self.source.title} learns from what it does itself and has no replay: fine_tuning='training' is for "
                "SAC, TQC, TD3, DDPG and DQN; take 'distillation'"
            )
        net = self.dense
        self.components = net.components(self.critics)  # type: ignore[misc]  # other agents have others
        # An environment that does not fit raises here.
        first = self.simulator.read(self.simulator.first_observation()[None])
        self._shape = tuple(net.preprocess(first).shape)

    def settings(self) -> dict[str, Any]:
        """Agent and environment by their content; scoring and fine-tuning decide nothing about the dense network."""
        normalised = self.vec_normalize and hashlib.sha256(self.vec_normalize).hexdigest()
        return {
            "agent": self.source.sha256,
            "env": self.env,
            "env_code": self.simulator.code,
            "env_kwargs": canonical_json(self.env_kwargs),
            "vec_normalize": normalised,
            "critics": self.critics,
            "batch_size": self.batch_size,
        }

    @property
    def is_off_policy(self) -> bool:
        """Whether the algorithm learns from a replay buffer."""
        return "buffer_size" in self.source.data

    @property
    def simulator(self) -> Simulator:
        """The environment."""
        return simulator_of(self.source, self.env, canonical_json(self.env_kwargs), self.vec_normalize)

    @property
    def dense(self) -> AgentNet:
        """The dense networks, without gradients; not to be changed."""
        return dense_networks(self.source, str(self.device))

    # ---------------------------------------------------------------- the networks
    def build(self, generator: torch.Generator | None = None) -> AgentNet:
        """The agent's networks, trained, and its optimizers with their states."""
        agent = self.source.load()
        net = networks_of(agent)
        net.first_learning_rate = float(agent.lr_schedule(1.0))
        return net

    def variants(self, split: PoolSplit) -> list[Mapping[str, Any]]:
        """The agents of the split."""
        chosen = self._agents[0::2] if split == "train" else self._agents[1::2]
        return [{"agent": agent} for agent in chosen] or [{}]

    def to(self, device: torch.device | str) -> None:
        """Move what the networks read; the environment stays on the CPU.

        Raises:
            ValueError: If SB3 trains the networks, which it does on the CPU here.
        """
        if self.fine_tuning == "training" and torch.device(device).type != "cpu":
            raise ValueError("fine_tuning='training' trains on the CPU: take device='cpu' or 'distillation'")
        super().to(device)

    def target_networks(self, model: nn.Module) -> Sequence[tuple[str, nn.Module]]:
        """The agent's own."""
        return _net(model).target_networks

    def optimizers(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        """Adam for all in distillation; the agent's own, at the rate with which it began, if it goes on learning."""
        net = _net(model)
        if self.fine_tuning == "distillation":
            return [torch.optim.Adam(net.parameters(), lr=self.learning_rate)]
        for settings in (settings for optimizer in net.agent_optimizers for settings in optimizer.param_groups):
            settings["lr"] = net.first_learning_rate
        return net.agent_optimizers

    def other_optimizers(self, model: nn.Module) -> Sequence[torch.optim.Optimizer]:
        """The agent's own in distillation: they are saved with it."""
        return _net(model).agent_optimizers if self.fine_tuning == "distillation" else ()

    def trace(self, model: nn.Module) -> list[Tensor]:
        """Actor and critics, and what ties networks that are cut alike."""
        net, x = _net(model), self._example()
        action = torch.zeros(1, self._critic_actions, device=self.device)
        outputs = [tensor for head in net.heads(x) for tensor in head.tensors]
        return [*outputs, *net.values(x, action), *net.ties(x, action)]

    def deploy(self, model: nn.Module) -> Any:
        """The actor."""
        return [tensor for head in _net(model).heads(self._example()) for tensor in head.tensors]

    def _example(self) -> Tensor:
        """Fixed numbers in the shape of one preprocessed observation."""
        return torch.rand(self._shape, generator=torch.Generator().manual_seed(0)).to(self.device)

    @property
    def _critic_actions(self) -> int:
        shape = self.dense.action_space.shape
        return int(np.prod(shape)) if shape else 1

    # ---------------------------------------------------------------- training
    def batches(self, generator: torch.Generator) -> StateStream:
        """A stream that yields the states visited so far; see `collect`."""
        return StateStream(generator)

    def collect(self, model: nn.Module, batch: Any) -> None:
        """Add the states of episodes, half of them with sampled actions: at first, every so often, and after a cut."""
        net, states = _net(model), cast(States, batch)
        size = sum(p.numel() for p in net.parameters())
        due = states.updates % _STEPS_BETWEEN == 0 and states.updates != states.collected
        if not due and size == states.parameters:
            return
        states.parameters, states.collected = size, states.updates
        seen: list[Tensor] = []
        for act in (self.actor(net), sampling(net, states.generator, self.device)):
            self.simulator.returns(act, states.draw_seeds(_EPISODES), seen.append)
        states.add(seen)

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Distance to the dense agent on a batch of states; zero at the dense agent itself."""
        x = self._batch(cast(States, batch))
        return distillation_loss(_net(model), self.dense, x, self._values_matter)

    def importance_pass(
        self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], batch: Any, after_backward: BackwardHook
    ) -> None:
        """Gradients of the log-probability of sampled actions, see `likelihood_loss`."""
        net, states = _net(model), cast(States, batch)
        self.collect(net, states)
        net.zero_grad(set_to_none=True)
        likelihood_loss(net, self._batch(states), states.generator, self._values_matter).backward()
        for optimizer in optimizers:
            after_backward(optimizer)

    def training_step(
        self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], batch: Any, after_backward: BackwardHook
    ) -> Tensor:
        """One step of distillation, see `distillation_step`, or of the agent's own algorithm, see `OwnTraining`.

        Args:
            model: The agent's networks.
            optimizers: Those of `optimizers`.
            batch: The states.
            after_backward: Called with each optimizer that steps.

        Returns:
            The distance, or the loss of the algorithm's critics, a detached scalar.
        """
        net, states = _net(model), cast(States, batch)
        if self.fine_tuning == "training":
            if states.own_training is None:
                states.own_training = OwnTraining(self.source, self._training_env(), states.draw_seeds(1)[0])
            return cast(OwnTraining, states.own_training).step(net, optimizers, after_backward)
        self.collect(net, states)
        states.updates += 1
        x = self._batch(states)
        return distillation_step(
            net, self.dense, optimizers[0], x, states.generator, self._values_matter, after_backward
        )

    def _training_env(self) -> Any:
        """The environment as SB3 trains in it, behind VecNormalize with fixed statistics if that is given."""
        from stable_baselines3.common.vec_env import DummyVecEnv

        env = DummyVecEnv([lambda: make_env(self.env, self.env_kwargs)])
        if self.vec_normalize is None:
            return env
        wrapper = Normalizer(self.vec_normalize).wrapper
        wrapper.set_venv(env)
        wrapper.training = False
        return wrapper

    def _batch(self, states: States) -> Tensor:
        return self.dense.preprocess(to_device(states.sample(self.batch_size), self.device))

    @property
    def _values_matter(self) -> bool:
        """Whether critics are cut, or read what a features extractor gives that is cut and trained."""
        shared = any(True for _ in self.dense.get_submodule("features_extractor").parameters())
        return self.critics or shared or self.dense.critic_name is None

    # ---------------------------------------------------------------- scoring
    def score(self, model: nn.Module, split: Split) -> float:
        """Mean return of deterministic actions over the fixed episodes of `split`."""
        return float(self.returns(model, split, self.episodes).mean())

    def returns(self, model: nn.Module, split: Split, episodes: int) -> np.ndarray:
        """Return of each of the first fixed episodes of `split`, [episodes]."""
        return self.simulator.returns(self.actor(_net(model).eval()), fixed_seeds(split, episodes))

    def floor(self, split: Split) -> float:
        """Mean return of random actions over the same episodes."""
        return float(self.simulator.returns(None, fixed_seeds(split, self.episodes)).mean())

    def actor(self, net: AgentNet) -> Actor:
        """What acts as SB3's `predict(deterministic=True)` does."""
        return deterministic(net, self.device)

    def entry_points(self, model: nn.Module) -> dict[str, EntryPoint]:
        """`act`: from observations as the environment gives them to what `predict(deterministic=True)` answers."""
        example = example_of(self.simulator, self.dense.observation_space)
        return {"act": EntryPoint(self._act, (example.to(self.device),))}

    def _act(self, net: AgentNet, observations: Tensor) -> Tensor:
        return net.action(self.simulator.read_exported(observations))

    def score_exported(self, module: nn.Module, split: Split) -> float:
        """Mean return of the exported `act` over the same episodes as `score`."""
        act: Any = module.act
        return float(self.simulator.returns(act, fixed_seeds(split, self.episodes), raw=True).mean())

    def files(self, model: nn.Module) -> dict[str, bytes]:
        """`agent.zip` for SB3, and the statistics of VecNormalize, if there are any."""
        statistics = {} if self.vec_normalize is None else {"vecnormalize.pkl": self.vec_normalize}
        return {"agent.zip": zip_of(self.source, _net(model)), **statistics}

    def agent(self, model: nn.Module) -> Any:
        """The model as an agent of SB3; replay buffers are empty."""
        buffer = {"buffer_size": self.source.data["buffer_size"]} if self.is_off_policy else {}
        return agent_of(self.source, _net(model), **buffer)


_EPISODES = 2  # of each kind, whenever states are collected
_STEPS_BETWEEN = 100  # of training, between two collections


def _net(model: nn.Module) -> AgentNet:
    if not isinstance(model, AgentNet):
        raise TypeError(f"the model of an SB3 agent is an AgentNet, got {type(model).__name__}")
    return model
