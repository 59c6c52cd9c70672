"""The contract of a target: the network that is being pruned, together with its task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from prune_env.described import describe
from prune_env.validation import Range, check_fields

Split = Literal["train", "validation", "test"]
PoolSplit = Literal["train", "held_out"]
BackwardHook = Callable[[torch.optim.Optimizer], None]


@dataclass(frozen=True)
class DenseTraining:
    """How a dense network is trained before it is pruned.

    Attributes:
        steps: Training steps; 0 for a target whose `build` returns a network that is trained already.
        anneal_after: Share of the steps after which `Target.anneal` is called.
        steps_per_epoch: Length of the epoch in which schedules count time [steps].
        keep: "last" keeps the network as training leaves it; "best" evaluates it periodically and keeps the one whose
            first number from `Target.evaluate` is largest.
        eval_every: Steps between two of these evaluations.
        importance_passes: Passes over batches that measure the importance of a network that is trained already, see
            `Target.importance_pass`; other networks have theirs from training.

    Raises:
        ValueError: If a field is of the wrong type or out of its range.
    """

    steps: int = 1000
    anneal_after: float = 0.8
    steps_per_epoch: int = 100
    keep: str = "last"
    eval_every: int = 200
    importance_passes: int = 20

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("steps_per_epoch", "eval_every"), Range(1))
        counts |= dict.fromkeys(("steps", "importance_passes"), Range(0))
        check_fields(self, {**counts, "anneal_after": Range(0, 1, "[]"), "keep": ("last", "best")})


@dataclass(frozen=True)
class EntryPoint:
    """Something that a deployment calls on the model.

    Attributes:
        call: `call(model, *example)` runs it.
        example: Arguments for one sample, samples along their first dimension.
    """

    call: Callable[..., Any]
    example: tuple[Tensor, ...]

    def batch(self, size: int) -> tuple[Tensor, ...]:
        """Arguments for `size` samples, all like the example."""
        return tuple(t.repeat(size, *[1] * (t.dim() - 1)) if t.dim() else t for t in self.example)


class Target:
    """A multi-component network and the task that it is trained on.

    A subclass names its components and implements `build`, `trace`, `batches`, `loss` and `score`; everything else has
    a default. A target is picklable and cheap to make. It holds data and settings, and no model, but for the one that
    it starts from where that is trained already (`dense_training.steps` is 0): `build` returns copies of it.

    Attributes:
        components: Names of submodules of the model, in the order in which data flow through them.
        unit: Unit of the score, for tables and plots.
        dense_training: How a dense network is trained.
        repair: Default repair of environments, applied right after a cut; see `prune_env.repair`.
    """

    components: ClassVar[tuple[str, ...]] = ()
    unit: ClassVar[str] = "score"
    dense_training: DenseTraining = DenseTraining()
    repair: ClassVar[str] = "batchnorm"

    device = torch.device("cpu")
    """Device of the model; traced inputs and batches have to be there too."""

    # ---------------------------------------------------------------- required
    def build(self, generator: torch.Generator) -> nn.Module:
        """A freshly initialised model that has every submodule in `components`.

        Args:
            generator: Draws the weights, on the CPU.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement build(generator)")

    def trace(self, model: nn.Module) -> Any:
        """Run one sample through *all* entry points of the model and return every output.

        Discovery follows this call: a path that is not taken here is a dependency that is not seen.

        Returns:
            A tensor, or a nest of tuples, lists and dicts of tensors.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement trace(model)")

    def batches(self, generator: torch.Generator) -> Iterator[Any]:
        """An endless stream of training batches on `device`, drawn with `generator` alone.

        If the iterator has `state_dict()` and `load_state_dict(state)`, for tensors by name, interrupted dense training
        resumes where it was; otherwise it starts again.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement batches(generator)")

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Task loss of one batch, a scalar."""
        raise NotImplementedError(f"{type(self).__name__} must implement loss(model, batch)")

    def score(self, model: nn.Module, split: Split) -> float:
        """Task score on `split`; higher is better, and a non-finite one means that the model has collapsed."""
        raise NotImplementedError(f"{type(self).__name__} must implement score(model, split)")

    # ---------------------------------------------------------------- optional: training
    def optimizers(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        """The optimizers that train the model; by default one Adam over all parameters."""
        return [torch.optim.Adam(model.parameters(), lr=1e-3)]

    def other_optimizers(self, model: nn.Module) -> Sequence[torch.optim.Optimizer]:
        """Optimizers that do not step here, but whose states follow every cut, such as those of a saved agent."""
        return ()

    def training_step(
        self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], batch: Any, after_backward: BackwardHook
    ) -> Tensor:
        """One update of the model.

        Args:
            model: The model, in training mode.
            optimizers: What `optimizers` returned.
            batch: The next batch.
            after_backward: To be called once for each optimizer, when the gradients of its parameters are complete and
                before it steps: importance is measured, and gradients of the regularisation are added, there.

        Returns:
            The task loss, a detached scalar.
        """
        (optimizer,) = optimizers
        optimizer.zero_grad(set_to_none=True)
        loss = self.loss(model, batch)
        loss.backward()
        after_backward(optimizer)
        optimizer.step()
        return loss.detach()

    def importance_pass(
        self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], batch: Any, after_backward: BackwardHook
    ) -> None:
        """Gradients of one batch without an update, for the importance of a network that is trained already.

        By default those of `loss`. A target whose loss has no gradient at a trained network, such as the distance to
        that network itself, overrides this.

        Args:
            model: The model, in evaluation mode; it must be left as it is.
            optimizers: What `optimizers` returned; none of them steps.
            batch: The next batch.
            after_backward: To be called once for each optimizer, when the gradients of its parameters are complete.
        """
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.collect(model, batch)
        self.loss(model, batch).backward()
        for optimizer in optimizers:
            after_backward(optimizer)

    def collect(self, model: nn.Module, batch: Any) -> None:
        """Add data that the model itself generates, as in reinforcement learning, if they are due.

        Called before `loss` outside of training, such as in a repair; `training_step` does the same by itself. By
        default nothing happens.
        """

    def target_networks(self, model: nn.Module) -> Sequence[tuple[str, nn.Module]]:
        """Modules outside the model that mirror a part of it, such as target networks: (prefix, module).

        They are cut by the same indices as the part of the model whose qualified name is `prefix`.
        """
        return ()

    def anneal(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Set the final learning rate, used for the end of dense training and for fine-tuning after cuts.

        Called after the share `anneal_after` of dense training, and on every dense checkpoint that is loaded. By
        default nothing changes.
        """

    def evaluate(self, model: nn.Module, batches: Iterator[Any]) -> dict[str, float]:
        """Numbers that dense training logs at every evaluation; the first is the model-selection metric, maximised.

        Args:
            model: The network in training.
            batches: Its training batches; nothing may be drawn here that changes the next ones.
        """
        return {"score": self.score(model, "validation")}

    def losses(self, model: nn.Module, batch: Any) -> Sequence[tuple[Tensor, Sequence[nn.Parameter]]]:
        """Scalar losses, each with the parameters that it trains; by default `loss`, for all of them.

        Criteria and repairs that need derivatives outside of training use it. A target overrides it where `loss` does
        not reach every parameter.
        """
        return [(self.loss(model, batch), list(model.parameters()))]

    def labels(self, batch: Any) -> Tensor | None:
        """Class of every sample of a batch, int64 [B] in the order of the samples; None where there are no classes."""
        return None

    def sample(self, batch: Any) -> Any:
        """What `outputs` reads of a batch; by default the batch. Here a target draws what it draws from a batch."""
        return batch

    def outputs(self, model: nn.Module, sample: Any) -> Mapping[str, Tensor]:
        """What a pruned network learns from the dense one in distillation, by name.

        A name of a layer says that these are its channels, along the last dimension: the pruned network has fewer. By
        default what the model, or else its components, returned last during `loss`, as far as they are tensors.

        Args:
            model: The pruned network, in training mode, or the dense one, in evaluation mode.
            sample: What `sample` returned.
        """
        seen: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
            return lambda module, inputs, output: seen.update({name: output} if isinstance(output, Tensor) else {})

        watched = {"": model, **{name: model.get_submodule(name) for name in self.components}}
        handles = [module.register_forward_hook(keep(name)) for name, module in watched.items()]
        try:
            self.loss(model, sample)
        finally:
            for handle in handles:
                handle.remove()
        return {"": seen[""]} if "" in seen else seen

    def distillation_loss(self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> Tensor:
        """Distance of two `outputs` of equal shapes, a scalar; by default the sum of their mean squared errors."""
        return torch.stack([(values - teacher[name]).square().mean() for name, values in student.items()]).sum()

    # ---------------------------------------------------------------- optional: deployment and scores
    def deploy(self, model: nn.Module) -> Any:
        """Run one sample through what a deployment uses, as in `trace`.

        MACs are counted over this call. Components that it does not run are not deployed: their parameters do not
        count either.
        """
        return self.trace(model)

    def entry_points(self, model: nn.Module) -> Mapping[str, EntryPoint]:
        """What a deployment calls, by name; export and latency go through these. By default none is known."""
        return {}

    def score_exported(self, module: nn.Module, split: Split) -> float | None:
        """Score of entry points that were exported, which are methods of `module`; None if the score needs others."""
        return None

    def files(self, model: nn.Module) -> dict[str, bytes]:
        """Files in formats of the task's own that belong to a saved network, by name; by default none."""
        return {}

    def floor(self, split: Split) -> float:
        """`score` of a trivial solution on `split`, at which the retained score is 0."""
        return 0.0

    def metrics(self, model: nn.Module, split: Split) -> dict[str, float]:
        """Further metrics beside the score, such as PSNR."""
        return {}

    def video(self, model: nn.Module, split: Split) -> list[npt.NDArray[np.uint8]]:
        """The model at its task, as RGB pictures [height, width, 3], one or many.

        Raises:
            NotImplementedError: If the target has no pictures.
        """
        raise NotImplementedError(f"{type(self).__name__} has no pictures: implement video(model, split)")

    # ---------------------------------------------------------------- optional: device, identity, variants
    def to(self, device: torch.device | str) -> None:
        """Move the task's data to a device; the model is moved by whoever built it.

        By default only `device` is set, which `trace` and `batches` then use.
        """
        self.device = torch.device(device)

    def settings(self) -> dict[str, Any]:
        """Everything that decides what a trained model of this target is like, as JSON; checkpoints are filed under it.

        By default all public attributes, of whatever type; the code of classes and functions is followed besides. What
        does not decide what a network becomes is left out by a name that begins with an underscore, or by overriding
        this method, which then answers for the options too.

        Raises:
            ValueError: If nothing says what the value of an attribute is; it is named.
        """
        named = {k: v for k, v in vars(self).items() if not k.startswith("_") and k != "device"}
        return {k: describe(v, f"{type(self).__name__}.{k}") for k, v in named.items()}

    def draw_options(self, random: np.random.Generator, split: PoolSplit) -> Mapping[str, Any]:
        """Options of one network of a pool in which every network differs (`pool_kind="drawn"`).

        Whatever is drawn, the number of groups must be the same, and no network that is drawn for one split may be
        drawn for the other.

        Raises:
            NotImplementedError: If the target has no such pool.
        """
        raise NotImplementedError(f"{type(self).__name__} draws no networks: implement draw_options(random, split)")

    def variants(self, split: PoolSplit) -> list[Mapping[str, Any]]:
        """Option sets that a pool of checkpoints cycles through; those held out must not occur in training.

        Every variant must lead to the same number of groups, since a policy's observation and action have that size.
        """
        return [{}]
