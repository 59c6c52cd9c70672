"""The train state: a network with its optimizers, surgeon, importance tracker and regularisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from prune_env.groups import Surgeon, discover
from prune_env.groups.surgery import Snapshot
from prune_env.importance import (
    CosineL1,
    CriterionContext,
    ImportanceConfig,
    ImportanceTracker,
    RegularizerConfig,
    ScaleL1,
)
from prune_env.targets import Target
from prune_env.training import Observer

State = dict[str, Tensor]


@dataclass(frozen=True)
class Memory:
    """State that `TrainState.snapshot` copies: model, optimizers, present channels, tracker and schedule."""

    surgeon: Snapshot
    tracker: State
    step: int


@dataclass
class TrainState:
    """A network with everything that trains, measures and cuts it, on one device.

    Attributes:
        target: The task.
        model: The network.
        optimizers: Its optimizers.
        surgeon: Cuts the network, its target networks and optimizer states.
        tracker: Measures importance in training.
        observers: Observers of training, in the order in which they are called.
        regularizer: The cosine-L1 term.
    """

    target: Target
    model: torch.nn.Module
    optimizers: list[torch.optim.Optimizer]
    surgeon: Surgeon
    tracker: ImportanceTracker
    observers: list[Observer]
    regularizer: CosineL1

    @classmethod
    def fresh(
        cls,
        target: Target,
        generator: torch.Generator,
        protect: Sequence[str] = (),
        importance: ImportanceConfig | None = None,
        regularizer: RegularizerConfig | None = None,
        device: torch.device | str = "cpu",
    ) -> TrainState:
        """Build a freshly initialised network with its groups, optimizers and observers.

        Args:
            target: What to build; its data is moved to the device.
            generator: Draws the initial weights.
            protect: Components and groups that are locked.
            importance: Constants of importance; all registered measures are tracked.
            regularizer: The cosine-L1 term.
            device: Where the model is trained; weights are drawn, and groups discovered, on the CPU.

        Raises:
            ValueError: If the model has no group that can be pruned.
        """
        model = target.build(generator)
        grouping = discover(model, target.trace, target.components, protect=tuple(protect))
        if not len(grouping):
            reasons = "; ".join(f"{g.name}: {g.reason}" for g in grouping.locked) or "no layer was found"
            raise ValueError(f"{type(target).__name__} has no group that can be pruned ({reasons})")
        target.to(device)
        for module in (model, *(network for _, network in target.target_networks(model))):
            module.to(device)
        optimizers = target.optimizers(model)
        following = [*optimizers, *target.other_optimizers(model)]
        surgeon = Surgeon(model, grouping, following, target.target_networks(model))
        tracker = ImportanceTracker(surgeon, importance)
        l1 = CosineL1(surgeon, target.dense_training.steps_per_epoch, regularizer)
        # The regularisation comes first: importance is measured on the gradient of the total loss.
        observers: list[Observer] = [l1, tracker] if l1.config.enabled else [tracker]
        if l1.config.scales:
            observers.insert(0, ScaleL1(surgeon, l1.config.scales))
        return cls(target, model, optimizers, surgeon, tracker, observers, l1)

    def context(self, generator: torch.Generator) -> CriterionContext:
        """What channel criteria may read, for the network as it is now."""
        return CriterionContext(self.target, self.surgeon, self.tracker, generator)

    def snapshot(self) -> Memory:
        """Copy everything that training and cutting change."""
        return Memory(self.surgeon.snapshot(), self.tracker.state_dict(), self.regularizer.step)

    def restore(self, memory: Memory) -> None:
        """Restore a snapshot, bit for bit."""
        self.surgeon.restore(memory.surgeon)
        self.tracker.load_state_dict(memory.tracker)
        self.regularizer.step = memory.step
        self.regularizer.bind()

    def cut(self, keep: Tensor) -> None:
        """Remove the channels where `keep`, bool [W], is False; importance and regularisation follow."""
        self.surgeon.cut(keep)
        for observer in self.observers:
            observer.after_surgery(keep)

    def state(self) -> State:
        """Copy everything that training changes, as tensors by name, for files."""
        state = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for i, (_, network) in enumerate(self.surgeon.target_networks):
            state |= {f"target_network.{i}.{name}": tensor for name, tensor in network.state_dict().items()}
        for i, optimizer in enumerate(self.optimizers):
            for p, values in optimizer.state_dict()["state"].items():
                for key, value in values.items():
                    state[f"optimizer.{i}.{p}.{key}"] = torch.as_tensor(value)
        state |= {f"tracker.{name}": tensor for name, tensor in self.tracker.state_dict().items()}
        state["regularizer.step"] = torch.tensor(self.regularizer.step)
        return {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}

    def load(self, state: State) -> None:
        """Restore what `state` returned; the model must be dense.

        A state may lack target networks and optimizer states, and be in half precision: target networks are then
        copies of what they follow, and the optimizers start anew.

        Raises:
            RuntimeError: If tensors of the model, or of a target network that is there, are missing.
        """
        self.model.load_state_dict(part(state, "model."))
        for i, (name, network) in enumerate(self.surgeon.target_networks):
            stored = part(state, f"target_network.{i}.")
            network.load_state_dict(stored or self.model.get_submodule(name).state_dict())
        for i, optimizer in enumerate(self.optimizers):
            values: dict[int, State] = {}
            for key, tensor in part(state, f"optimizer.{i}.").items():
                parameter, _, name = key.partition(".")
                values.setdefault(int(parameter), {})[name] = tensor
            optimizer.load_state_dict({"state": values, "param_groups": optimizer.state_dict()["param_groups"]})
        self.tracker.load_state_dict(part(state, "tracker."))
        self.regularizer.step = int(state["regularizer.step"])


def part(state: Mapping[str, Tensor], prefix: str) -> State:
    """The tensors whose name begins with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
