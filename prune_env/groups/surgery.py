"""Remove channels: slice parameters, buffers, layer attributes, optimizer state, target networks; and put them back.

Letters: G groups, W = sum of the *present* widths of all groups. A vector over channels is flat: all present channels
of group 0, then of group 1, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prune_env.groups.layer_attributes import refresher
from prune_env.groups.slicing import Place, Positions, places_of, select
from prune_env.groups.types import Grouping

State = dict[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """All that training and cutting change: tensors of model, target networks and optimizers; present channels."""

    tensors: list[Tensor]
    settings: list[list[State]]
    states: list[list[State]]
    present: Tensor


class Surgeon:
    """Cuts channels out of one model, again and again, and restores it.

    The slicing plan is made once; a cut selects the positions whose channel stays. Parameters are replaced by new
    Parameter objects, as assigning to `.data` would break the backward pass of a graph that still lives; so fetch them
    anew after a cut. Gradients are not carried over.

    Args:
        model: The model to cut; it must be dense, i.e. as it was when `grouping` was discovered.
        grouping: Its prunable groups.
        optimizers: Optimizers whose state follows the parameters; they keep training after a cut.
        target_networks: Modules with the same tensors as (a part of) `model`, as (prefix, module): they are cut by the
            same indices. `prefix` is the place of that part in the model, "" for a copy of the whole model.
        min_channels: Channels that every group keeps; one whose `least` is larger keeps that many.

    Attributes:
        present: Dense number of every present channel, int64 [W].

    Raises:
        ValueError: If the model's or a twin's tensors and the grouping do not fit together, if a twin shares tensors
            with the model, or if an optimizer has no state of its own for each parameter.
    """

    def __init__(
        self,
        model: nn.Module,
        grouping: Grouping,
        optimizers: Sequence[torch.optim.Optimizer] = (),
        target_networks: Sequence[tuple[str, nn.Module]] = (),
        min_channels: int = 1,
    ):
        self.model, self.grouping = model, grouping
        self.optimizers, self.target_networks, self.min_channels = list(optimizers), list(target_networks), min_channels
        for optimizer in self.optimizers:
            if isinstance(optimizer, torch.optim.LBFGS):
                raise ValueError("LBFGS keeps one history for all parameters together, which cannot be cut")
        widths = torch.from_numpy(grouping.widths)
        self._channels = int(widths.sum())
        self._group_of = torch.repeat_interleave(torch.arange(len(grouping)), widths)
        self.present = torch.arange(self._channels)
        tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
        self._positions = Positions(grouping, {name: tensor.shape for name, tensor in tensors})
        self._places = places_of(model, self._positions.cuts)
        for prefix, twin in self.target_networks:
            self._places += self._twin_places(prefix, twin)
        cut = {id(module): module for place in self._places if place.cuts for module, _ in place.owners}
        self._refresh = [refresh for module in cut.values() if (refresh := refresher(module))]

    def _twin_places(self, prefix: str, twin: nn.Module) -> list[Place]:
        shapes = {place.name: place.tensor.shape for place in self._places}
        mine = {id(place.tensor) for place in self._places}
        places = places_of(twin, self._positions.cuts, prefix)
        for place in places:
            name = f"{prefix}.{place.name}" if prefix else place.name
            if id(place.tensor) in mine:
                raise ValueError(f"the twin of {prefix or 'the model'!r} shares {place.name!r} with another module")
            if place.cuts and shapes.get(name) != place.tensor.shape:
                raise ValueError(f"{place.name!r} of the twin has another shape than {name!r} of the model")
        return places

    # ------------------------------------------------------------------ reading
    @property
    def widths(self) -> Tensor:
        """Present channels of each group, int64 [G]."""
        return torch.bincount(self.group_of, minlength=len(self.grouping))

    @property
    def group_of(self) -> Tensor:
        """Group of every present channel, int64 [W]."""
        return self._group_of[self.present]

    def owner(self, tensor: str, dim: int) -> Tensor:
        """Dense number of the channel that every present position belongs to, int64 [n]; -1 where no group owns it.

        Raises:
            KeyError: If no group has a slice along this dimension of this tensor.
        """
        return torch.from_numpy(self._positions.owner(tensor, dim))

    # ------------------------------------------------------------------ cutting
    def cut(self, keep: Tensor) -> None:
        """Remove the present channels where `keep` (bool [W]) is False.

        A group whose values are not finite at that width (see `Group.least`) keeps its first channels beside those.

        Raises:
            ValueError: If the mask has the wrong shape, or leaves a group with fewer than `min_channels` channels.
                Nothing is changed in that case.
        """
        self._check(keep)
        keep = self._widened(keep)
        self.present = self.present[keep]
        stays = np.zeros(self._channels + 1, dtype=bool)
        stays[self.present.numpy()] = stays[-1] = True
        indices = self._positions.keep(stays)
        swapped: dict[Tensor, nn.Parameter] = {}
        for place in self._places:
            if any(indices[number] is not None for _, number in place.cuts):
                self._slice(place, indices, swapped)
        self._swap_in_optimizers(swapped)
        for refresh in self._refresh:
            refresh()

    def _check(self, keep: Tensor) -> None:
        if keep.dtype != torch.bool or keep.shape != self.present.shape:
            raise ValueError(
                f"keep must be bool with shape {tuple(self.present.shape)}, one entry for each present channel; "
                f"got {keep.dtype} with shape {tuple(keep.shape)}"
            )
        groups = self.group_of
        widths = torch.bincount(groups, minlength=len(self.grouping))
        left = torch.bincount(groups[keep], minlength=len(self.grouping))
        floor = widths.clamp(max=self.min_channels)
        if bool((left < floor).any()):
            g = int((left < floor).nonzero()[0])
            raise ValueError(
                f"group {self.grouping.groups[g].name!r} would keep {int(left[g])} of {int(widths[g])} channels; "
                f"it must keep at least {int(floor[g])}"
            )

    def _widened(self, keep: Tensor) -> Tensor:
        """The same mask, with as many more channels as groups must keep."""
        groups = self.group_of
        lacking = torch.from_numpy(self.grouping.least) - torch.bincount(groups[keep], minlength=len(self.grouping))
        for g in (lacking > 0).nonzero().flatten().tolist():
            more = ((groups == g) & ~keep).nonzero().flatten()[: int(lacking[g])]
            keep = keep.index_fill(0, more, True)
        return keep

    def _slice(self, place: Place, indices: Sequence[Tensor | None], swapped: dict[Tensor, nn.Parameter]) -> None:
        old = place.tensor
        new = select(old.detach(), place.cuts, indices, old.shape)
        if not place.is_parameter:
            place.hang(new)
            return
        swapped[old] = nn.Parameter(new, requires_grad=old.requires_grad)
        place.hang(swapped[old])
        for optimizer in self.optimizers:
            state = optimizer.state.get(old, {})
            for key, value in state.items():
                if isinstance(value, Tensor) and value.dim() == old.dim():
                    state[key] = select(value, place.cuts, indices, old.shape)

    def _swap_in_optimizers(self, swapped: dict[Tensor, nn.Parameter]) -> None:
        for optimizer in self.optimizers:
            for settings in optimizer.param_groups:
                settings["params"] = [swapped.get(p, p) for p in settings["params"]]
            for old, new in swapped.items():
                if old in optimizer.state:
                    optimizer.state[new] = optimizer.state.pop(old)

    # ------------------------------------------------------------------ remembering
    def snapshot(self) -> Snapshot:
        """A copy of everything that training and cutting change."""
        return Snapshot(
            tensors=[place.tensor.detach().clone() for place in self._places],
            settings=[[_settings(s) for s in optimizer.param_groups] for optimizer in self.optimizers],
            states=[
                [_cloned(optimizer.state.get(p, {})) for s in optimizer.param_groups for p in s["params"]]
                for optimizer in self.optimizers
            ],
            present=self.present.clone(),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Put back, bit for bit, what `snapshot` remembered; the snapshot stays usable."""
        swapped: dict[Tensor, nn.Parameter] = {}
        for place, tensor in zip(self._places, snapshot.tensors, strict=True):
            old, new = place.tensor, tensor.clone()
            if place.is_parameter:
                swapped[old] = new = nn.Parameter(new, requires_grad=old.requires_grad)
            place.hang(new)
        for optimizer, settings, states in zip(self.optimizers, snapshot.settings, snapshot.states, strict=True):
            optimizer.state.clear()
            remembered = iter(states)
            for mine, then in zip(optimizer.param_groups, settings, strict=True):
                mine["params"] = [swapped.get(p, p) for p in mine["params"]]
                mine.update(_cloned(then))
                for parameter in mine["params"]:
                    if state := next(remembered):
                        optimizer.state[parameter] = _cloned(state)
        self.present = snapshot.present.clone()
        self._positions.reset()
        if len(self.present) < self._channels:
            stays = np.zeros(self._channels + 1, dtype=bool)
            stays[self.present.numpy()] = stays[-1] = True
            self._positions.keep(stays)
        for refresh in self._refresh:
            refresh()


def _settings(settings: State) -> State:
    """Learning rate and the like of one parameter group; a scheduler may have changed them."""
    return _cloned({key: value for key, value in settings.items() if key != "params"})


def _cloned(state: State) -> State:
    return {key: value.clone() if isinstance(value, Tensor) else value for key, value in state.items()}
