"""Any trained module as a target: plain functions instead of a class."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from prune_env.groups.tracing.replica import copied
from prune_env.targets.base import BackwardHook, DenseTraining, EntryPoint, Split, Target

LEARNING_RATE = 3e-4
"""Of the Adam that fine-tunes a module where no optimizer is given."""
LOSS_BATCHES = 8
"""Over how many batches the score is averaged where the loss stands in for it."""
NO_LOSS = "no loss was given, so gradients and activations are not known: give loss=... and batches=..."

Batches = Iterable[Any] | Callable[[], Iterable[Any]]
Optimizers = torch.optim.Optimizer | Sequence[torch.optim.Optimizer]


class ModuleTarget(Target):
    """A trained network and what its owner knows about it; it is copied, and the original is never changed.

    Without a loss there is no fine-tuning, and nothing that reads gradients or activations.

    Args:
        model: The trained network.
        example: Arguments of `model`, for one sample, samples along the first dimension: a tensor, a tuple of
            positional arguments or a dict of keyword arguments.
        trace: `trace(model)` runs one sample through every entry point and returns every output; by default
            `model(example)`.
        components: Names of the submodules that are told apart; by default the children that have parameters.
        loss: `loss(model, batch)`, the scalar loss of one batch.
        batches: Training batches, repeated without end: a DataLoader, a list, or a function without arguments that
            returns an iterable.
        score: `score(model)` or `score(model, split)`, with split "validation" or "test"; higher is better. It is
            called in evaluation mode and without gradients. By default minus the mean loss over eight batches.
        floor: Score of a trivial solution, at which the retained score is 0; by default that of the network with all
            parameters at zero, which answers the same to everything.
        optimizer: `optimizer(model)` makes what fine-tunes the network: an optimizer or several; by default Adam with
            a learning rate of 3e-4.
        entry_points: What a deployment calls, for export and latency: methods of the model by name, with example
            arguments, or a function of the model that returns them; by default "forward" with `example`.
        deploy: `deploy(model)` runs one sample through what a deployment uses; by default `trace`.
        importance_passes: Batches over which importance is measured.

    Raises:
        ValueError: If an argument is missing or does not fit; the message says what to give.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        example: Any = None,
        trace: Callable[[nn.Module], Any] | None = None,
        components: Sequence[str] | None = None,
        loss: Callable[[nn.Module, Any], Tensor] | None = None,
        batches: Batches | None = None,
        score: Callable[..., float] | None = None,
        floor: float | None = None,
        optimizer: Callable[[nn.Module], Optimizers] | None = None,
        entry_points: Mapping[str, Any] | Callable[[nn.Module], Mapping[str, Any]] | None = None,
        deploy: Callable[[nn.Module], Any] | None = None,
        importance_passes: int = DenseTraining.importance_passes,
    ):
        _check_functions(trace=trace, loss=loss, score=score, optimizer=optimizer, deploy=deploy)
        if example is None and trace is None:
            raise ValueError("give example=..., the arguments of one call of the model, or trace=..., a function of it")
        if (loss is None) != (batches is None):
            raise ValueError("loss and batches belong together: give loss(model, batch) and the batches, or neither")
        if score is None and loss is None:
            raise ValueError(
                "give score=..., a function of the model, or loss=... and batches=..., which then score it"
            )
        if floor is not None and not math.isfinite(floor):
            raise ValueError(f"floor must be a finite score, got {floor!r}")
        self.model = model
        self.components = tuple(components) if components is not None else _children(model)  # type: ignore[misc]
        self.unit = "score" if score else "-loss"  # type: ignore[misc]
        self.dense_training = DenseTraining(steps=0, importance_passes=importance_passes if loss else 0)
        self.repair = _repair_of(model) if loss else "none"  # type: ignore[misc]
        self.device = next((t.device for t in model.parameters()), torch.device("cpu"))
        self._example, self._trace, self._deploy = example, trace, deploy
        self._loss, self._batches, self._score, self._floor = loss, batches, score, floor
        self._optimizer, self._entry_points = optimizer, entry_points
        self._floors: dict[Split, float] = {}
        self._splits = score is not None and _takes_split(score)

    @property
    def has_loss(self) -> bool:
        """Whether the network can be trained, and its gradients be known."""
        return self._loss is not None

    @property
    def has_splits(self) -> bool:
        """Whether validation and test scores differ."""
        return self._splits

    # ------------------------------------------------------------------ the network
    def build(self, generator: torch.Generator) -> nn.Module:
        """A copy of the trained network."""
        return copied(self.model)

    def trace(self, model: nn.Module) -> Any:
        """The trace that was given, or a call on the example."""
        return self._trace(model) if self._trace else _call(model, self._on_device(self._example))

    def deploy(self, model: nn.Module) -> Any:
        """What a deployment uses, or else the trace."""
        return self._deploy(model) if self._deploy else self.trace(model)

    def entry_points(self, model: nn.Module) -> dict[str, EntryPoint]:
        """The methods that were given, or the model itself; none if the example has more than positional tensors."""
        given = self._entry_points
        if callable(given):
            with torch.no_grad():
                given = given(model)
        if given is None:
            places = self._example if isinstance(self._example, tuple) else (self._example,)
            given = {"forward": places} if all(isinstance(x, Tensor) for x in places) else {}
        return {name: _entry_point(model, name, self._on_device(example)) for name, example in given.items()}

    # ------------------------------------------------------------------ training
    def batches(self, generator: torch.Generator) -> Iterator[Any]:
        """The batches that were given, again and again; without a loss None again and again.

        Raises:
            ValueError: If there are none, or they can be iterated over only once and are over.
        """
        given: Any = itertools.repeat(None) if self._batches is None else self._batches
        while True:
            count = 0
            for count, batch in enumerate(given() if callable(given) else given, 1):  # noqa: B007
                yield batch
            if not count:
                raise ValueError(
                    "batches are empty, or an iterator that is over: give a list, a DataLoader or a function"
                )

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The loss that was given.

        Raises:
            ValueError: If there is none, or it returns no scalar.
        """
        if self._loss is None:
            raise ValueError(NO_LOSS)
        value = self._loss(model, batch)
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ValueError(f"loss(model, batch) must return a scalar tensor, got {_shown(value)}")
        return value.reshape(())

    def optimizers(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        """Those that were asked for, or Adam over all parameters that are trained.

        Raises:
            ValueError: If `optimizer(model)` returns something else.
        """
        if self._optimizer is None:
            trained = [p for p in model.parameters() if p.requires_grad]
            return [torch.optim.Adam(trained or model.parameters(), lr=LEARNING_RATE)]
        made = self._optimizer(model)
        found = [made] if isinstance(made, torch.optim.Optimizer) else list(made)
        if not found or not all(isinstance(x, torch.optim.Optimizer) for x in found):
            raise ValueError(f"optimizer(model) must return an optimizer or a list of them, got {_shown(made)}")
        return found

    def training_step(
        self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], batch: Any, after_backward: BackwardHook
    ) -> Tensor:
        """One step of every optimizer on the loss of one batch."""
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss = self.loss(model, batch)
        loss.backward()
        for optimizer in optimizers:
            after_backward(optimizer)
        for optimizer in optimizers:
            optimizer.step()
        return loss.detach()

    def importance_pass(
        self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], batch: Any, after_backward: BackwardHook
    ) -> None:
        """Gradients of all parameters, frozen ones included: what is frozen is not unimportant.

        Raises:
            ValueError: If no parameter has a gradient: the loss does not use the model that it is given.
        """
        parameters = list(model.parameters())
        frozen = [p for p in parameters if not p.requires_grad and p.is_floating_point()]
        for parameter in frozen:
            parameter.requires_grad_(True)
        try:
            model.zero_grad(set_to_none=True)
            loss = self.loss(model, batch)
            if loss.requires_grad:
                loss.backward()
            if all(p.grad is None for p in parameters):
                raise ValueError("loss(model, batch) has no gradient: does it use the model that it is given?")
            after_backward(torch.optim.SGD(parameters, lr=0.0))
            model.zero_grad(set_to_none=True)
        finally:
            for parameter in frozen:
                parameter.requires_grad_(False)

    # ------------------------------------------------------------------ scores
    def score(self, model: nn.Module, split: Split) -> float:
        """The score that was given, or minus the mean loss.

        Raises:
            ValueError: If it is no number.
        """
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        try:
            with torch.no_grad():
                value: Any = self._mean_loss(model) if self._score is None else self._call_score(model, split)
        finally:
            for module, training in modes:
                module.training = training
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"score(model) must return a number, got {_shown(value)}") from None

    def _call_score(self, model: nn.Module, split: Split) -> Any:
        assert self._score is not None
        return self._score(model, split) if self._splits else self._score(model)

    def _mean_loss(self, model: nn.Module) -> float:
        batches = itertools.islice(self.batches(torch.Generator()), LOSS_BATCHES)
        return -sum(float(self.loss(model, batch)) for batch in batches) / LOSS_BATCHES

    def score_exported(self, module: nn.Module, split: Split) -> float | None:
        """The score that was given, if it calls exported entry points alone."""
        try:
            return self.score(module, split)
        except Exception:  # whatever the owner's function does with a network that lacks the rest
            return None

    def floor(self, split: Split) -> float:
        """The floor that was given, or the score of the network with all parameters at zero."""
        if self._floor is not None:
            return float(self._floor)
        if split not in self._floors:
            silent = copied(self.model)
            with torch.no_grad():
                for parameter in silent.parameters():
                    parameter.zero_()
            self._floors[split] = self.score(silent, split)
        return self._floors[split]

    def check_scale(self) -> None:
        """Whether the score tells the network from a trivial solution.

        Raises:
            ValueError: If it does not; the message says what to give.
        """
        dense, floor = self.score(copied(self.model), "validation"), self.floor("validation")
        if not (math.isfinite(dense) and math.isfinite(floor) and dense > floor):
            trivial = "the floor" if self._floor is not None else "the same network with all parameters at zero"
            raise ValueError(
                f"the score is {dense:.6g} for the network and {floor:.6g} for {trivial}: it must be finite, higher "
                "for better networks, and use the model that it is given; floor=... is the score of a trivial solution"
            )

    # ------------------------------------------------------------------ device, identity
    def to(self, device: torch.device | str) -> None:
        """Remember the device, to which examples are moved; batches stay the owner's business."""
        self.device = torch.device(device)

    def _on_device(self, example: Any) -> Any:
        return tree_map(lambda x: x.to(self.device) if isinstance(x, Tensor) else x, example)


def _check_functions(**functions: Any) -> None:
    for name, function in functions.items():
        if function is not None and not callable(function):
            raise ValueError(f"{name} must be a function, got {_shown(function)}")


def _children(model: nn.Module) -> tuple[str, ...]:
    names = tuple(name for name, child in model.named_children() if next(child.parameters(), None) is not None)
    if not names:
        raise ValueError(
            f"{type(model).__name__} has no child with parameters that could be a component: give components=..., or "
            "put the layers into submodules"
        )
    return names


def _repair_of(model: nn.Module) -> str:
    """What repairs a cut: the mean of what is gone moves into biases, unless running statistics take it up."""
    norms = (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats)
    return "mean" if next(norms, None) is None else "batchnorm"


def _takes_split(score: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(score).parameters.values()
    except (TypeError, ValueError):  # a function that is not written in Python
        return False
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    return len(places) > 1 or any(p.kind is p.VAR_POSITIONAL for p in parameters)


def _call(model: nn.Module, example: Any) -> Any:
    if isinstance(example, Mapping):
        return model(**example)
    return model(*example) if isinstance(example, tuple) else model(example)


def _entry_point(model: nn.Module, name: str, example: Any) -> EntryPoint:
    arguments = example if isinstance(example, tuple) else (example,)
    if not all(isinstance(x, Tensor) for x in arguments):
        raise ValueError(f"entry point {name!r} needs tensors as its example, got {_shown(example)}")
    if name == "forward":
        return EntryPoint(nn.Module.__call__, arguments)
    if not callable(getattr(model, name, None)):
        raise ValueError(f"entry point {name!r} is no method or submodule of {type(model).__name__}")
    return EntryPoint(lambda net, *args: getattr(net, name)(*args), arguments)


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {value!r:.100}"
