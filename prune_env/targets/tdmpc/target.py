"""TD-MPC as a target: a controller that keeps collecting episodes and learning from them while it is pruned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from prune_env.open_sets import UnknownOptionError
from prune_env.targets.base import BackwardHook, EntryPoint, PoolSplit, Split, Target
from prune_env.targets.tdmpc.drawn import draw_controller
from prune_env.targets.tdmpc.losses import Batch, model_loss, policy_loss
from prune_env.targets.tdmpc.networks import (
    COMPONENTS,
    ControllerNet,
    TargetNetworks,
    encode,
    pixel_encoder,
    state_encoder,
)
from prune_env.targets.tdmpc.planner import Planner
from prune_env.targets.tdmpc.recipes import PLANNERS, RECIPES, SIZES, VARIANTS, Recipe
from prune_env.targets.tdmpc.replay import Replay, ReplayStream
from prune_env.targets.tdmpc.rollout import (
    Actor,
    fixed_starts,
    planning_actor,
    policy_actor,
    random_actor,
    roll_out,
)
from prune_env.targets.tdmpc.tasks import TASKS, Task
from prune_env.targets.tdmpc.update import update
from prune_env.targets.transfer import to_device
from prune_env.validation import Range, check_value

CONTROLLERS = ("planner", "policy")
REPLAYS = ("device", "cpu")
_OPTIONS = ("task", "obs", "controller", "starts", "planner", "sizes", "replay")
_EVALUATION_STARTS = {"planner": 20, "policy": 50}  # episodes of an evaluation in dense training
_VIDEO_SIZE = 160  # [px]
_START_SEEDS: dict[Split, int] = {"train": 7_001, "validation": 7_002, "test": 7_003}


class TDMPC(Target):
    """A model-based controller of a simulated task (Hansen et al. 2022, arXiv 2203.04955).

    The score is the mean return over fixed initial states, which differ between validation and test; the floor is the
    mean return of random actions.

    `batches` is a stream that yields one replay, from which an update draws. An *epoch* is `steps_per_epoch` updates.
    Before each epoch, and after a cut, the controller as it then is collects `episodes_per_epoch` new episodes; this
    happens in `collect`, which every training step calls.

    Parameters and MACs are those of a deployment: all components for the planner, encoder and policy for the policy.
    Target networks never count.

    Args:
        task: "pendulum" (Gymnasium's) or "cartpole-swingup" (DMControl's; needs the extra "control").
        obs: "state" or "pixels".
        controller: What is scored and deployed: the "planner", which needs every component, or the "policy", on whose
            score damage to dynamics, reward and values has no effect. Training does not depend on it.
        starts: Episodes over which the score is averaged.
        planner: Constants of `Planner` that differ from the task's, by name.
        sizes: "small" networks that learn in minutes, or those of the "paper" (from pixels, 1,548,360 parameters).
        replay: Where episodes are stored: on the model's "device", which is fast (700 episodes of 84 px in color take
            1.9 GB there), or on the "cpu" if they do not fit. Both give the same batches.
        **recipe: Fields of `Recipe` that differ from the task's recipe.

    Raises:
        ValueError: If an option is unknown or out of range.
        ImportError: If a package that the task needs is missing.
    """

    components = COMPONENTS
    unit = "return"
    repair = "mean"

    def __init__(
        self,
        task: str = "pendulum",
        obs: str = "state",
        controller: str = "planner",
        starts: int = 20,
        planner: Mapping[str, Any] | None = None,
        sizes: str = "small",
        replay: str = "device",
        **recipe: Any,
    ):
        if (task, obs) not in RECIPES:
            known = ", ".join(f"{t} from {o}" for t, o in RECIPES)
            raise ValueError(f"unknown task {task!r} from {obs!r}; known: {known}")
        if controller not in CONTROLLERS:
            raise ValueError(f"unknown controller {controller!r}; known: {', '.join(CONTROLLERS)}")
        if replay not in REPLAYS:
            raise ValueError(f"unknown replay {replay!r}; known: {', '.join(REPLAYS)}")
        check_value("starts", starts, int, Range(1))
        if sizes not in SIZES:
            raise ValueError(f"unknown sizes {sizes!r}; known: {', '.join(SIZES)}")
        if unknown := recipe.keys() - {field.name for field in fields(Recipe)}:
            raise UnknownOptionError.of("target 'tdmpc'", min(unknown), [*_OPTIONS, *(f.name for f in fields(Recipe))])
        self.task_name, self.obs = task, obs
        self.controller, self.starts, self.replay, self._sizes = controller, starts, replay, sizes
        self.recipe: Recipe = replace(RECIPES[task, obs], **SIZES[sizes][obs] | recipe)
        frames = Range(1) if obs == "pixels" else Range(0, 0, "[]")
        check_value(f"image from {obs}", self.recipe.image, int, frames)
        usual: dict[str, Any] = {x: getattr(self.recipe, x) for x in ("horizon", "discount", "std", "bfloat16")}
        usual |= PLANNERS.get((task, obs), {})
        self.usual_planner, self.planner = Planner(**usual), Planner(**usual | dict(planner or {}))
        self.dense_training = self.recipe.dense_training()
        self.task = _make_task(task, obs, self.recipe)
        if self.recipe.horizon > self.task.episode_length:
            raise ValueError(
                f"horizon must be at most {self.task.episode_length}, the episode's steps; got {self.recipe.horizon}"
            )

    def settings(self) -> dict[str, Any]:
        """Task and recipe; the other options do not change what a controller becomes in training."""
        return {"task": self.task_name, "obs": self.obs, **self.recipe.settings()}

    # ------------------------------------------------------------------ the networks
    def build(self, generator: torch.Generator) -> ControllerNet:
        """An untrained controller."""
        recipe, shape = self.recipe, self.task.observation_shape
        if self.task.pixels:
            channels = recipe.stack * shape[0]
            encoder = pixel_encoder(channels, shape[1], recipe.filters, recipe.kernels, recipe.latent_dim)
        else:
            encoder = state_encoder(recipe.stack * shape[0], recipe.encoder_width, recipe.latent_dim)
        return ControllerNet(
            encoder, recipe.latent_dim, self.task.action_dim, recipe.width, generator, recipe.widths, recipe.distinct
        )

    def target_networks(self, model: nn.Module) -> TargetNetworks:
        """Those of encoder and values."""
        return _net(model).target_networks

    def trace(self, model: nn.Module) -> list[Tensor]:
        """Two steps of a latent rollout, so that the dynamics read their own output and its groups are coupled."""
        net = _net(model)
        shape = self.task.observation_shape
        z = net.encoder(torch.zeros(1, self.recipe.stack * shape[0], *shape[1:], device=self.device))
        action = torch.zeros(1, self.task.action_dim, device=self.device)
        outputs: list[Tensor] = []
        for latent in (z, net.dynamics(torch.cat([z, action], dim=1))):
            za = torch.cat([latent, action], dim=1)
            outputs += [net.reward(za), net.act(latent), net.q1(za), net.q2(za)]
        return outputs

    def deploy(self, model: nn.Module) -> Any:
        """One decision of the policy, or, for the planner, all networks as in `trace`."""
        if self.controller == "planner":
            return self.trace(model)
        net, shape = _net(model), self.task.observation_shape
        return net.act(net.encoder(torch.zeros(1, self.recipe.stack * shape[0], *shape[1:], device=self.device)))

    def draw_options(self, random: np.random.Generator, split: PoolSplit) -> Mapping[str, Any]:
        """One controller of a pool in which every one differs; see `draw_controller`.

        Raises:
            NotImplementedError: If the task is not the pendulum from its state.
        """
        if (self.task_name, self.obs, self._sizes) != ("pendulum", "state", "small"):
            return super().draw_options(random, split)
        return draw_controller(random, split)

    def entry_points(self, model: nn.Module) -> dict[str, EntryPoint]:
        """`act`, from an observation to the policy's action; and for the planner each of its networks."""
        net, shape = _net(model), self.task.observation_shape
        observation = torch.zeros(1, self.recipe.stack * shape[0], *shape[1:], device=self.device)
        points = {"act": EntryPoint(_act, (observation,))}
        if self.controller == "planner":
            with torch.no_grad():
                latent = net.encoder(observation)  # as wide as it is now
            za = torch.cat([latent, torch.zeros(1, self.task.action_dim, device=self.device)], dim=1)
            points["encoder"] = EntryPoint(lambda net, x: net.encoder(x), (observation,))
            points["policy"] = EntryPoint(lambda net, z: net.act(z), (latent,))
            points["dynamics"] = EntryPoint(lambda net, x: net.dynamics(x), (za,))
            points["reward"] = EntryPoint(lambda net, x: net.reward(x), (za,))
            points["q1"] = EntryPoint(lambda net, x: net.q1(x), (za,))
            points["q2"] = EntryPoint(lambda net, x: net.q2(x), (za,))
        return points

    def variants(self, split: PoolSplit) -> list[Mapping[str, Any]]:
        """Sizes and lengths of training of small networks; networks of the paper's sizes do not vary."""
        if self._sizes != "small":
            return [{}]
        return [dict(sizes) for sizes in VARIANTS[self.task_name, self.obs][split]]

    # ------------------------------------------------------------------ training
    def optimizers(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        """One Adam for everything but the policy, and one for the policy."""
        net, rate = _net(model), self.recipe.learning_rate
        pi = list(net.pi.parameters())
        mine = {id(p) for p in pi}
        rest = [p for p in net.parameters() if id(p) not in mine]
        return [torch.optim.Adam(parameters, lr=rate, fused=True) for parameters in (rest, pi)]

    def batches(self, generator: torch.Generator) -> ReplayStream:
        """A stream that yields one replay, empty at first; see `collect`."""
        recipe, storage = self.recipe, self.device if self.replay == "device" else "cpu"
        replay = Replay(
            recipe.replay_episodes, recipe.horizon, recipe.stack, self.task.rewards, generator, self.device, storage
        )
        return ReplayStream(replay)

    def training_step(
        self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], batch: Any, after_backward: BackwardHook
    ) -> Tensor:
        """Collect episodes if they are due, then one update of model, values and policy.

        Args:
            model: The controller.
            optimizers: Those of `optimizers`.
            batch: The replay.
            after_backward: Called with each optimizer, when its gradients are complete.

        Returns:
            The loss of model and values, a detached scalar.
        """
        net, replay, recipe = _net(model), cast(Replay, batch), self.recipe
        self.collect(net, replay)
        sample = replay.sample(recipe.batch_size, recipe.shift)
        size = (2 * recipe.horizon + 1, recipe.batch_size, self.task.action_dim)
        noise = to_device(torch.randn(size, generator=replay.generator), self.device)
        replay.updates += 1
        return update(net, optimizers[0], optimizers[1], sample, noise, after_backward, recipe.update_config())

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Loss of model and values on one sample from the replay; the policy's loss is not part of it.

        Raises:
            RuntimeError: If the replay `batch` is empty; see `collect`.
        """
        net, replay, recipe = _net(model), cast(Replay, batch), self.recipe
        sample = replay.sample(recipe.batch_size, recipe.shift)
        noise = to_device(torch.randn(sample.action.shape, generator=replay.generator), self.device)
        return model_loss(net, sample, noise, recipe.update_config())[0]

    def losses(self, model: nn.Module, batch: Any) -> Sequence[tuple[Tensor, Sequence[nn.Parameter]]]:
        """The loss of model and values for everything but the policy, and the policy's own for the policy."""
        net, replay, recipe = _net(model), cast(Replay, batch), self.recipe
        sample = replay.sample(recipe.batch_size, recipe.shift)
        size = (2 * recipe.horizon + 1, recipe.batch_size, self.task.action_dim)
        noise = to_device(torch.randn(size, generator=replay.generator), self.device)
        config, pi = recipe.update_config(), list(net.pi.parameters())
        rest = [p for name, p in net.named_parameters() if not name.startswith("pi.")]
        loss, latents = model_loss(net, sample, noise[: recipe.horizon], config)
        return [(loss, rest), (policy_loss(net, latents, noise[recipe.horizon :], config), pi)]

    def sample(self, batch: Any) -> Batch:
        """Subsequences from the replay."""
        return cast(Replay, batch).sample(self.recipe.batch_size, self.recipe.shift)

    def outputs(self, model: nn.Module, sample: Any) -> Mapping[str, Tensor]:
        """Latents along the actions of a sample, and the rewards, values and actions that the networks give there."""
        net, batch = _net(model), cast(Batch, sample)
        (z,) = encode(batch.first, net.encoder)
        latents, rows = [z], []
        for action in batch.action:
            rows.append(torch.cat([latents[-1], action], dim=-1))
            latents.append(net.dynamics(rows[-1]))
        inputs = torch.stack(rows)
        heads = {name: net.get_submodule(name)(inputs) for name in ("reward", "q1", "q2")}
        return {f"encoder.{len(net.encoder) - 1}": torch.stack(latents), **heads, "pi": net.act(torch.stack(latents))}

    def distillation_loss(self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> Tensor:
        """Mean squared errors with the weights of the losses; an action counts like a latent."""
        config = self.recipe.update_config()
        weights = {"reward": config.reward, "q1": config.value, "q2": config.value}
        terms = [
            weights.get(name, config.consistency) * (values - teacher[name]).square().mean()
            for name, values in student.items()
        ]
        return torch.stack(terms).sum()

    def collect(self, model: nn.Module, batch: Any) -> None:
        """Add episodes to the replay if it is empty, an epoch is over or the controller was cut since the last ones."""
        net, replay, recipe = _net(model), cast(Replay, batch), self.recipe
        size = sum(p.numel() for p in net.parameters())
        over = replay.updates % recipe.steps_per_epoch == 0 and replay.updates != replay.collected
        if not over and size == replay.parameters:
            return
        replay.parameters, replay.collected = size, replay.updates
        updates = int(net.updates)
        actor = random_actor(self.task.action_dim, replay.generator)
        if updates:
            actor = policy_actor(net, recipe.exploration(updates), replay.generator)
        count = recipe.episodes_per_epoch if len(replay) else recipe.first_episodes
        seed = int(torch.randint(2**31, (1,), generator=replay.generator))
        replay.add(roll_out(self.task, fixed_starts(self.task, count, seed), actor, recipe.stack))

    # ------------------------------------------------------------------ scoring
    def score(self, model: nn.Module, split: Split) -> float:
        """Mean return of `controller` over the fixed initial states of `split`."""
        return self.mean_return(model, split, self.controller, self.starts)

    def mean_return(
        self, model: nn.Module, split: Split, controller: str, starts: int, planner: Planner | None = None
    ) -> float:
        """Mean return of "planner" or "policy" over the first `starts` fixed initial states of `split`."""
        return float(self.returns(model, split, controller, starts, planner).mean())

    def returns(
        self, model: nn.Module, split: Split, controller: str, starts: int, planner: Planner | None = None
    ) -> Tensor:
        """Return of "planner" or "policy" from each of the first `starts` fixed initial states of `split`, [starts]."""
        return self._returns(self._actor(_net(model), split, controller, planner or self.planner), split, starts)

    def random_returns(self, split: Split, starts: int) -> Tensor:
        """Return of random actions from each of the first `starts` fixed initial states of `split`, [starts]."""
        generator = torch.Generator().manual_seed(_START_SEEDS[split])
        return self._returns(random_actor(self.task.action_dim, generator), split, starts)

    def _actor(self, net: ControllerNet, split: Split, controller: str, planner: Planner) -> Actor:
        if controller == "policy":
            return policy_actor(net)
        return planning_actor(net, planner, torch.Generator().manual_seed(_START_SEEDS[split]))

    def metrics(self, model: nn.Module, split: Split) -> dict[str, float]:
        """Mean returns of the planner and of the policy over the fixed initial states."""
        return {f"{name}_return": self.mean_return(model, split, name, self.starts) for name in CONTROLLERS}

    def evaluate(self, model: nn.Module, batches: Iterator[Any]) -> dict[str, float]:
        """Mean returns over fixed validation states, the worst of them first, and the simulator's steps so far.

        From pixels the policy alone is evaluated, as planning takes too long.
        """
        controllers = CONTROLLERS if self.obs == "state" else ("policy",)
        planner = self.usual_planner  # options that are not in `settings` must not decide which network is the best
        returns = {
            f"{name}_return": self.mean_return(model, "validation", name, _EVALUATION_STARTS[name], planner)
            for name in controllers
        }
        steps = next(batches).episodes_added * self.task.episode_length * self.recipe.action_repeat
        return {"return": min(returns.values()), **returns, "simulator_steps": float(steps)}

    def floor(self, split: Split) -> float:
        """Mean return of random actions over the same initial states."""
        return float(self.random_returns(split, self.starts).mean())

    def video(self, model: nn.Module, split: Split) -> list[npt.NDArray[np.uint8]]:
        """Episodes from the first three fixed initial states, side by side; a picture for each step of control."""
        render, pictures = self.task.renderer(_VIDEO_SIZE), []
        starts = fixed_starts(self.task, self.starts, _START_SEEDS[split])[:3]
        actor = self._actor(_net(model), split, self.controller, self.planner)
        roll_out(self.task, starts, actor, self.recipe.stack, lambda now: pictures.append(np.hstack(list(render(now)))))
        return pictures

    def _returns(self, actor: Actor, split: Split, starts: int) -> Tensor:
        states = fixed_starts(self.task, starts, _START_SEEDS[split])
        return roll_out(self.task, states, actor, self.recipe.stack).returns


def _act(net: ControllerNet, observation: Tensor) -> Tensor:
    return net.act(net.encoder(observation))


def _net(model: nn.Module) -> ControllerNet:
    return cast(ControllerNet, model)


def _make_task(task: str, obs: str, recipe: Recipe) -> Task:
    make, draw = TASKS[task]
    return make(recipe.action_repeat, draw(recipe.image, recipe.gray) if obs == "pixels" else None)
