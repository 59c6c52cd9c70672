"""What was cut out of a network since it was dense: one stage for each time it was pruned.

Stages go with the network, so that one that was pruned twice can still be made from a dense instance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prune_env.groups import Grouping, Surgeon
from prune_env.groups.tracing.stored import constants

_ATTRIBUTE = "_prune_env_stages"


@dataclass(frozen=True, eq=False)
class Stage:
    """One pruning of a network.

    Attributes:
        grouping: Its groups before.
        kept: Numbers of the channels that stayed, flat in group order, ascending, int64 [W].
        shapes: Shape of every tensor of the network before, by name.
        layers: What each module of the network was before, see `layers_of`.
    """

    grouping: Grouping
    kept: Tensor
    shapes: dict[str, tuple[int, ...]]
    layers: dict[str, dict[str, Any]]

    @property
    def mask(self) -> Tensor:
        """Which channels stayed, bool [all channels]."""
        return torch.zeros(int(self.grouping.widths.sum()), dtype=torch.bool).index_fill(0, self.kept, True)


class _Stages:
    """The stages of a network, kept out of sight: a plain list would be searched for tensors of the model."""

    __slots__ = ("stages",)

    def __init__(self, stages: Sequence[Stage]):
        self.stages = tuple(stages)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Stages:
        return self


def stages_of(model: nn.Module) -> tuple[Stage, ...]:
    """The stages that a network went through, the first one first; none for a dense one.

    They are copied and pickled with the network.
    """
    found = vars(model).get(_ATTRIBUTE)
    return found.stages if isinstance(found, _Stages) else ()


def add_stage(model: nn.Module, stage: Stage) -> None:
    """Remember that a network was pruned; nothing is cut."""
    vars(model)[_ATTRIBUTE] = _Stages((*stages_of(model), stage))


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter, buffer and constant, by each of its names."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    named += [(name, holder[key]) for name, holder, key in constants(model)]
    return {name: tuple(tensor.shape) for name, tensor in named}


def layers_of(model: nn.Module) -> dict[str, dict[str, Any]]:
    """What tells the modules of a network from others of the same shapes: class, and settings of torch's own ones."""
    return {name: {"class": type(module).__name__} | _settings(module) for name, module in model.named_modules()}


def _settings(module: nn.Module) -> dict[str, Any]:
    if not type(module).__module__.startswith("torch.nn"):
        return {}
    public = {k: v for k, v in vars(module).items() if not k.startswith("_") and k != "training"}
    return {k: _plain(v) for k, v in public.items() if isinstance(v, (bool, int, float, str, tuple))}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(x) for x in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def cut_to_shape(model: nn.Module, stages: Sequence[Stage]) -> None:
    """Cut a dense network as another one was cut, stage by stage; its weights stay those of the channels that are left.

    Args:
        model: The network; it must be dense, and fit the first stage.
        stages: Of the other network.
    """
    for stage in stages:
        Surgeon(model, stage.grouping).cut(stage.mask)
        add_stage(model, stage)
