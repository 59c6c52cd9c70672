"""A network with everything that trains, measures and cuts it, and all of its state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from prune_env.groups import Surgeon, discover
from prune_env.importance import CosineL1, ImportanceTracker
from prune_env.targets import Target
from prune_env.training import Observer

State = dict[str, Tensor]


@dataclass
class TrainState:
    """A model with everything that trains, measures and cuts it."""

    target: Target
    model: torch.nn.Module
    optimizers: list[torch.optim.Optimizer]
    surgeon: Surgeon
    tracker: ImportanceTracker
    observers: list[Observer]
    schedule: CosineL1

    @classmethod
    def fresh(
        cls, target: Target, generator: torch.Generator, protect: Sequence[str] = (), regularise: bool = True
    ) -> TrainState:
        """A freshly initialised model with its groups, optimizers and observers.

        Raises:
            ValueError: If the model has no group that can be pruned.
        """
        model = target.build(generator)
        grouping = discover(model, target.trace, target.components, protect=tuple(protect))
        if not len(grouping):
            reasons = "; ".join(f"{g.name}: {g.reason}" for g in grouping.locked) or "no layer was found"
            raise ValueError(f"{type(target).__name__} has no group that can be pruned ({reasons})")
        optimizers = target.optimizers(model)
        surgeon = Surgeon(model, grouping, optimizers, target.target_networks(model))
        tracker = ImportanceTracker(surgeon)
        schedule = CosineL1(surgeon, target.steps_per_epoch)
        # The regularisation comes first: importance is measured on the gradient of the total loss.
        observers: list[Observer] = [schedule, tracker] if regularise else [tracker]
        return cls(target, model, optimizers, surgeon, tracker, observers, schedule)

    def state(self) -> State:
        """A copy of all that training changes."""
        state = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for i, (_, network) in enumerate(self.surgeon.target_networks):
            state |= {f"target_network.{i}.{name}": tensor for name, tensor in network.state_dict().items()}
        for i, optimizer in enumerate(self.optimizers):
            for p, values in optimizer.state_dict()["state"].items():
                for key, value in values.items():
                    state[f"optimizer.{i}.{p}.{key}"] = torch.as_tensor(value)
        state |= {f"tracker.{name}": tensor for name, tensor in self.tracker.state_dict().items()}
        state["schedule.step"] = torch.tensor(self.schedule.step)
        return {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}

    def load(self, state: State) -> None:
        """Put back what `state` returned; the model must be dense."""
        self.model.load_state_dict(part(state, "model."))
        for i, (_, network) in enumerate(self.surgeon.target_networks):
            network.load_state_dict(part(state, f"target_network.{i}."))
        for i, optimizer in enumerate(self.optimizers):
            values: dict[int, State] = {}
            for key, tensor in part(state, f"optimizer.{i}.").items():
                parameter, _, name = key.partition(".")
                values.setdefault(int(parameter), {})[name] = tensor
            optimizer.load_state_dict({"state": values, "param_groups": optimizer.state_dict()["param_groups"]})
        self.tracker.load_state_dict(part(state, "tracker."))
        self.schedule.step = int(state["schedule.step"])


def part(state: Mapping[str, Tensor], prefix: str) -> State:
    """The tensors whose name begins with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
