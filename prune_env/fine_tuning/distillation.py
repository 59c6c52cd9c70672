"""Distillation: the dense network teaches the pruned one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prune_env.dense import Network
from prune_env.fine_tuning.base import FineTuning
from prune_env.groups import Surgeon
from prune_env.targets import Target
from prune_env.training import Observer
from prune_env.validation import Range, check_fields


@dataclass(frozen=True)
class Distillation(FineTuning):
    """Learn the outputs of the dense network beside the task (Hinton et al. 2015, arXiv 1503.02531).

        loss = (1 - share) * task loss + share * distance(outputs, outputs of the dense network)

    for what `Target.outputs` returns on a training batch: of TD-MPC latents, rewards, values and actions. The distance
    is `Target.distillation_loss`, squared errors (of logits: Ba and Caruana 2014, arXiv 1312.6184); with a temperature
    T, T^2 times the divergence of the softmax at T along the last dimension. Values under the name of a layer are
    compared at the channels that are left of it.

    With `balance` the gradient of the distance is scaled to the norm of the task's, for each optimizer, so that a share
    means the same for all units, and the second moments that Adam has learnt in dense training still fit.

    Attributes:
        share: Of the distance in the loss, in [0, 1].
        temperature: Of the softmax; 0 compares the outputs themselves.
        balance: Whether both gradients are made equally large.

    Raises:
        ValueError: If a value is out of range.
    """

    share: float = 0.5
    temperature: float = 0.0
    balance: bool = True

    def __post_init__(self) -> None:
        check_fields(self, {"share": Range(0, 1, "[]"), "temperature": Range(0)})

    def begin(self, network: Network) -> None:
        """Copy the dense network, once."""
        _ = network.teacher

    def training(self, network: Network, batches: Iterator[Any]) -> tuple[Iterator[Any], Sequence[Observer]]:
        """The batches, remembered, and what adds the gradient of the distance."""
        remembered = Remembered(batches)
        return remembered, [Teaching(self, network, remembered)]


class Remembered(Iterator[Any]):
    """An iterator that knows what it has returned last."""

    def __init__(self, batches: Iterator[Any]):
        self._batches = batches
        self.last: Any = None

    def __next__(self) -> Any:
        self.last = next(self._batches)
        return self.last


class Teaching:
    """An observer of training that mixes the gradient of the distance into that of the task.

    Args:
        settings: Share and temperature.
        network: The network and its teacher.
        batches: What it trains on.
    """

    def __init__(self, settings: Distillation, network: Network, batches: Remembered):
        self.settings, self.batches = settings, batches
        self.train_state, self.teacher = network.train_state, network.teacher
        self._gradients: dict[int, Tensor] = {}

    def after_backward(self, optimizer: torch.optim.Optimizer) -> None:
        """Mix the gradients of this optimizer's parameters; all are computed before the first optimizer steps."""
        if not self._gradients:
            self._gradients = self._distance_gradients()
        share = self.settings.share
        owned = [p for group in optimizer.param_groups for p in group["params"]]
        task = [p.grad for p in owned if p.grad is not None]
        taught = [self._gradients[id(p)] for p in owned if id(p) in self._gradients]
        with torch.no_grad():
            factor = _norm(task) / _norm(taught).clamp(min=1e-12) if self.settings.balance and taught and task else 1.0
            torch._foreach_mul_(task, 1 - share)
            for p in owned:
                if (gradient := self._gradients.get(id(p))) is not None:
                    scaled = gradient * (share * factor)
                    p.grad = scaled if p.grad is None else p.grad.add_(scaled)

    def after_step(self) -> None:
        """Forget the gradients of the step."""
        self._gradients = {}

    def after_surgery(self, keep: Tensor) -> None:
        """Nothing is kept from step to step."""

    def _distance_gradients(self) -> dict[int, Tensor]:
        target, model = self.train_state.target, self.train_state.model
        sample = target.sample(self.batches.last)
        with torch.no_grad():
            taught = target.outputs(self.teacher, sample)
        with torch.enable_grad():
            learnt = target.outputs(model, sample)
            distance = distance_of(target, learnt, at_present(taught, learnt, self.train_state.surgeon), self.settings)
        parameters = [p for p in model.parameters() if p.requires_grad]
        found = torch.autograd.grad(distance, parameters, allow_unused=True)
        return {id(p): g for p, g in zip(parameters, found, strict=True) if g is not None}


def _norm(gradients: list[Tensor]) -> Tensor:
    return torch.stack(torch._foreach_norm(gradients)).norm()


def at_present(taught: Mapping[str, Tensor], learnt: Mapping[str, Tensor], surgeon: Surgeon) -> dict[str, Tensor]:
    """The teacher's outputs at the channels that the pruned network still has.

    Raises:
        ValueError: If none of the outputs can be compared.
    """
    result = {}
    for name, values in taught.items():
        group = next((g for g in surgeon.grouping if any(s.layer == name and s.role == "out" for s in g.slices)), None)
        if group is not None:
            s = next(s for s in group.slices if s.layer == name and s.role == "out")
            start = int(surgeon.grouping.widths[: surgeon.grouping.names.index(group.name)].sum())
            owner = surgeon.owner(s.tensor, s.dim)
            dense = {int(c) + start: row.tolist() for c, row in enumerate(s.positions)}
            index = torch.tensor([dense[int(c)].pop(0) for c in owner], device=values.device)
            values = values.index_select(-1, index)
        if values.shape == learnt[name].shape:
            result[name] = values
    if not result:
        raise ValueError(
            f"none of the outputs {', '.join(taught)} has the dense network's shape after a cut; implement "
            "Target.outputs(model, sample) with outputs that keep theirs"
        )
    return result


def distance_of(
    target: Target, learnt: Mapping[str, Tensor], taught: Mapping[str, Tensor], settings: Distillation
) -> Tensor:
    """The distance, a scalar, over what both have."""
    learnt = {name: learnt[name] for name in taught}
    if not settings.temperature:
        return target.distillation_loss(learnt, taught)
    heat = settings.temperature
    terms = [
        nn.functional.kl_div(
            (values / heat).log_softmax(-1).flatten(0, -2),
            (taught[name] / heat).log_softmax(-1).flatten(0, -2),
            log_target=True,
            reduction="batchmean",
        )
        for name, values in learnt.items()
    ]
    return heat**2 * torch.stack(terms).sum()
