"""The contract of a target: the network that is being pruned, together with its task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from prune_env.described import describe

Split = Literal["train", "validation", "test"]
PoolSplit = Literal["train", "held_out"]
BackwardHook = Callable[[torch.optim.Optimizer], None]


class Target:
    """A multi-component network and the task that it is trained on.

    A subclass names its components and implements `build`, `trace`, `batches`, `loss` and `score`; everything else has
    a default. A target is picklable and cheap to make; it holds data and settings, never a model: the models that it
    builds are trained, cut and thrown away by whoever asked for them.

    Attributes:
        components: Names of the top-level submodules of the model, in the order of the data's way through them.
        unit: What the score is measured in, for tables and plots.
        dense_steps: Training steps that make a dense checkpoint [steps].
        anneal_after: Share of the dense steps after which `anneal` is called.
        steps_per_epoch: Length of the epoch in which schedules count time [steps].
        eval_every: Dense training looks at the network every so many steps and keeps the best one; 0 keeps the last.
        repair: What an environment does by default right after a cut; see `prune_env.repair`.
        idle: Components that a deployment leaves at home; they cost nothing.
    """

    components: ClassVar[tuple[str, ...]] = ()
    unit: ClassVar[str] = "score"
    dense_steps: int = 1000
    anneal_after: ClassVar[float] = 0.8
    steps_per_epoch: int = 100
    eval_every: int = 0
    repair: ClassVar[str] = "batchnorm"
    idle: tuple[str, ...] = ()

    device = torch.device("cpu")
    """Where the model is; traced inputs and batches have to be there too."""

    # ---------------------------------------------------------------- what every target must say
    def build(self, generator: torch.Generator) -> nn.Module:
        """A freshly initialised model whose top-level children include every name in `components`."""
        raise NotImplementedError(f"{type(self).__name__} must implement build(generator)")

    def trace(self, model: nn.Module) -> Any:
        """Run one sample through *all* entry points of the model and return every output.

        Returns a tensor or a nest of tuples, lists and dicts of tensors. Discovery follows this call, so a path that is
        not taken here is a dependency that is not seen; MACs are counted over it.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement trace(model)")

    def batches(self, generator: torch.Generator) -> Iterator[Any]:
        """Endless training batches, drawn with `generator` alone.

        If the iterator has `state_dict()` and `load_state_dict(state)`, for tensors by name, then dense training that
        was killed goes on where it was; otherwise it starts anew.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement batches(generator)")

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Scalar task loss of one batch."""
        raise NotImplementedError(f"{type(self).__name__} must implement loss(model, batch)")

    def score(self, model: nn.Module, split: Split) -> float:
        """How well the model does its task on `split`; higher is better, non-finite means collapsed."""
        raise NotImplementedError(f"{type(self).__name__} must implement score(model, split)")

    # ---------------------------------------------------------------- what most targets leave alone
    def optimizers(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        """The optimizers that train the model; by default one Adam over all parameters."""
        return [torch.optim.Adam(model.parameters(), lr=1e-3)]

    def training_step(
        self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], batch: Any, after_backward: BackwardHook
    ) -> Tensor:
        """One update of the model; returns the task loss, detached.

        `after_backward(optimizer)` must be called once for each optimizer, when the gradients of its parameters are
        complete and before it steps: that is where importance is measured and regularisation gradients are added.
        """
        (optimizer,) = optimizers
        optimizer.zero_grad(set_to_none=True)
        loss = self.loss(model, batch)
        loss.backward()
        after_backward(optimizer)
        optimizer.step()
        return loss.detach()

    def target_networks(self, model: nn.Module) -> Sequence[tuple[str, nn.Module]]:
        """Modules outside the model with the tensors of a part of it, such as target networks: (prefix, module).

        They are cut by the same indices as the part of the model whose qualified name is `prefix`.
        """
        return ()

    def anneal(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Settle the optimizers for the end of dense training, and for all that comes after it, cuts included.

        Called after `anneal_after` of the dense steps, and on every dense checkpoint that is loaded. By default nothing
        changes.
        """

    def evaluate(self, model: nn.Module, batches: Iterator[Any]) -> dict[str, float]:
        """Numbers that dense training logs every `eval_every` steps; the best network has most of the first one.

        Args:
            model: The network in training.
            batches: What it learns from; draw nothing here.
        """
        return {"score": self.score(model, "validation")}

    def deploy(self, model: nn.Module) -> Any:
        """Run one sample through what a deployment uses, as in `trace`; MACs are counted over it."""
        return self.trace(model)

    def floor(self, split: Split) -> float:
        """`score` of a trivial solution on `split`, at which the retained score is 0."""
        return 0.0

    def metrics(self, model: nn.Module, split: Split) -> dict[str, float]:
        """Further numbers that people of the field expect beside the score (PSNR, say)."""
        return {}

    def video(self, model: nn.Module, split: Split) -> list[npt.NDArray[np.uint8]]:
        """The model at its task, for people to look at: RGB pictures [H, W, 3], one or many.

        Raises:
            NotImplementedError: If there is nothing to look at.
        """
        raise NotImplementedError(f"{type(self).__name__} has nothing to look at: implement video(model, split)")

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

    def variants(self, split: PoolSplit) -> list[Mapping[str, Any]]:
        """Option sets that a pool of checkpoints cycles through; those held out must not occur in training.

        Every variant must lead to the same number of groups, since a policy's observation and action have that size.
        """
        return [{}]
