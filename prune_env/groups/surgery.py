"""Remove channels: slice parameters, buffers, layer attributes, optimizer state, target networks; and put them back.

Letters: G groups, W = sum of the *present* widths of all groups. A vector over channels is flat: all present channels
of group 0, then of group 1, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from prune_env.groups.layer_attributes import recomputer, refresher
from prune_env.groups.optimizers import StateLayout, with_inner
from prune_env.groups.slicing import PlainSlot, Positions, TensorSlot, select, slots_of
from prune_env.groups.tracing.stored import constants, place_of
from prune_env.groups.types import Counter, Grouping

State = dict[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """All that training and cutting change, copied.

    Attributes:
        tensors: Parameters and buffers of model and target networks.
        requires_grad: Whether each of them is trained.
        plain: Tensors that are no parameters or buffers, and buffers that may be None.
        settings: Learning rate and the like of every optimizer's parameter groups.
        states: Every optimizer's state for each of its parameters.
        others: Every optimizer's state that belongs to no parameter.
        present: Present channels.
    """

    tensors: list[Tensor]
    requires_grad: list[bool]
    plain: list[Any]
    settings: list[list[State]]
    states: list[list[State]]
    others: list[State]
    present: Tensor


class Surgeon:
    """Cuts channels out of one model, again and again, and restores it.

    The slicing plan is made once; a cut selects the positions whose channel stays. Parameters are replaced by new
    Parameter objects, as assigning to `.data` would break the backward pass of a graph that still lives; so fetch them
    anew after a cut. They keep their hooks, their attributes and the memory that they share with others. Gradients are
    not carried over.

    Args:
        model: The model to cut; it must be dense, i.e. as it was when `grouping` was discovered.
        grouping: Its prunable groups.
        optimizers: Optimizers whose state follows the parameters; they keep training after a cut. Those that they wrap
            are found.
        target_networks: Modules with the same tensors as (a part of) `model`, as (prefix, module): they are cut by the
            same indices. `prefix` is the place of that part in the model, "" for a copy of the whole model.
        min_channels: Channels that every group keeps; one whose `least` is larger keeps that many.

    Attributes:
        present: Dense number of every present channel, int64 [W].

    Raises:
        ValueError: If the tensors of the model or of a target network do not fit the grouping, if a target network
            shares tensors with the model, or if the state of an optimizer cannot be cut.
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
        self.optimizers, self.target_networks = with_inner(optimizers), list(target_networks)
        self.min_channels = min_channels
        self._layouts = [StateLayout(optimizer) for optimizer in self.optimizers]
        widths = torch.from_numpy(grouping.widths)
        self._channels = int(widths.sum())
        self._group_of = torch.repeat_interleave(torch.arange(len(grouping)), widths)
        self.present = torch.arange(self._channels)
        tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
        tensors += [(name, holder[key]) for name, holder, key in constants(model)]
        self._positions = Positions(grouping, {name: tensor.shape for name, tensor in tensors})
        self._slots, self._plain = slots_of(model, self._positions.cuts)
        _check_memory(self._slots)
        for prefix, network in self.target_networks:
            slots, plain = self._slots_of_target(prefix, network)
            self._slots += slots
            self._plain += plain
        cut = {id(m): m for slot in self._slots if slot.cuts for m, _, _ in slot.holders if m is not None}
        self._refresh = [refresh for module in cut.values() if (refresh := refresher(module))]
        self._refresh += [self._counting(g, c) for g, group in enumerate(grouping.groups) for c in group.counters]
        self._recompute = [recompute for module in cut.values() if (recompute := recomputer(module))]

    def _slots_of_target(self, prefix: str, network: nn.Module) -> tuple[list[TensorSlot], list[PlainSlot]]:
        shapes = {slot.name: slot.tensor.shape for slot in self._slots}
        mine = {id(slot.tensor) for slot in self._slots} | {place_of(slot.tensor) for slot in self._slots} - {None}
        slots, plain = slots_of(network, self._positions.cuts, prefix)
        for slot in slots:
            name = f"{prefix}.{slot.name}" if prefix else slot.name
            if id(slot.tensor) in mine or place_of(slot.tensor) in mine:
                raise ValueError(
                    f"the target network of {prefix or 'the model'!r} shares {slot.name!r} with another module; "
                    "give it tensors of its own, for instance by copy.deepcopy"
                )
            if slot.cuts and shapes.get(name) != slot.tensor.shape:
                raise ValueError(f"{slot.name!r} of the target network has another shape than {name!r} of the model")
        return slots, plain

    def _counting(self, group: int, counter: Counter) -> Callable[[], None]:
        """What sets an attribute, in the model and its target networks, that counts channels of a group."""
        modules = [vars(self.model.get_submodule(counter.module))]
        for prefix, network in self.target_networks:
            if f"{counter.module}.".startswith(f"{prefix}.") or not prefix:
                modules.append(vars(network.get_submodule(counter.module.removeprefix(prefix).removeprefix("."))))

        def count() -> None:
            for attributes in modules:
                attributes[counter.name] = counter.per_channel * int((self.group_of == group).sum())

        return count

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
        for slot in self._slots:
            if any(indices[number] is not None for _, number in slot.cuts):
                self._slice(slot, indices, swapped)
        self._swap_in_optimizers(swapped)
        for plain in self._plain:
            if plain.same_memory is not None:
                plain.assign(None)
        for refresh in (*self._refresh, *self._recompute):
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

    def _slice(self, slot: TensorSlot, indices: Sequence[Tensor | None], swapped: dict[Tensor, nn.Parameter]) -> None:
        old = slot.tensor
        if slot.same_memory is not None:
            new = slot.same_memory.tensor.detach()
        else:
            new = select(old.detach(), slot.cuts, indices, old.shape)
        if not slot.is_parameter:
            slot.assign(_succeeding(old, new))
            return
        swapped[old] = parameter = _parameter(old, new, old.requires_grad)
        slot.assign(parameter)
        for optimizer, layout in zip(self.optimizers, self._layouts, strict=True):
            if old in optimizer.state:
                layout.cut(optimizer.state[old], old.shape, slot.cuts, indices)

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
        tensors = [slot.tensor for slot in self._slots]
        return Snapshot(
            tensors=[tensor.detach().clone() for tensor in tensors],
            requires_grad=[tensor.requires_grad for tensor in tensors],
            plain=[plain.value for plain in self._plain],
            settings=[[_settings(s) for s in optimizer.param_groups] for optimizer in self.optimizers],
            states=[
                [_cloned(optimizer.state.get(p, {})) for s in optimizer.param_groups for p in s["params"]]
                for optimizer in self.optimizers
            ],
            others=[
                _cloned({key: x for key, x in _items(optimizer) if not isinstance(key, Tensor)})
                for optimizer in self.optimizers
            ],
            present=self.present.clone(),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Put back, bit for bit, what `snapshot` remembered; the snapshot stays usable."""
        swapped: dict[Tensor, nn.Parameter] = {}
        memory: dict[int, torch.UntypedStorage] = {}
        for slot, tensor, trained in zip(self._slots, snapshot.tensors, snapshot.requires_grad, strict=True):
            old = slot.tensor
            if slot.same_memory is not None:
                new = slot.same_memory.tensor.detach()
            elif slot.overlaps:
                new = _in_shared_memory(old, tensor, memory)
            else:
                new = tensor.clone()
            if slot.is_parameter:
                swapped[old] = parameter = _parameter(old, new, trained)
                slot.assign(parameter)
            else:
                slot.assign(_succeeding(old, new.requires_grad_() if trained else new))
        for plain, value in zip(self._plain, snapshot.plain, strict=True):
            plain.assign(value)
        for optimizer, settings, states, others in zip(
            self.optimizers, snapshot.settings, snapshot.states, snapshot.others, strict=True
        ):
            optimizer.state.clear()
            optimizer.state.update(cast(Any, _cloned(others)))
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


def _check_memory(slots: Sequence[TensorSlot]) -> None:
    for slot in slots:
        if slot.overlaps and slot.cuts:
            raise ValueError(
                f"{slot.name!r} shares a part of its memory with another tensor, which a cut would separate: "
                "its group must be locked"
            )


def _parameter(old: Any, values: Tensor, trained: bool) -> nn.Parameter:
    """A parameter with other values that keeps the type, attributes and hooks of an old one."""
    new = Tensor._make_subclass(type(old), values, trained)  # what nn.Parameter does in the end, at half the cost
    return _succeeding(old, new)


def _succeeding(old: Tensor, new: Any) -> Any:
    """A new tensor with the attributes and hooks of an old one; handles of the hooks remove them from the new one."""
    if attributes := old.__dict__:
        new.__dict__.update(attributes)
    if hooks := old._backward_hooks:
        new._backward_hooks = hooks
    if hooks := old._post_accumulate_grad_hooks:
        new._post_accumulate_grad_hooks = hooks
    return new


def _in_shared_memory(old: Tensor, values: Tensor, memory: dict[int, torch.UntypedStorage]) -> Tensor:
    """Values in a copy of the storage of `old`; `memory` has the copies that others share."""
    storage = old.untyped_storage()
    copy = memory.setdefault(storage.data_ptr(), storage.clone())
    empty = torch.empty(0, dtype=old.dtype, device=old.device)
    new = empty.set_(copy, old.storage_offset(), old.shape, old.stride())
    return new.copy_(values)


def _settings(settings: State) -> State:
    """Learning rate and the like of one parameter group; a scheduler may have changed them."""
    return _cloned({key: value for key, value in settings.items() if key != "params"})


def _cloned(state: State) -> State:
    return {key: _copy(value) for key, value in state.items()}


def _items(optimizer: torch.optim.Optimizer) -> list[tuple[Any, Any]]:
    return list(optimizer.state.items())


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if type(value) in (list, tuple):
        return type(value)(_copy(x) for x in value)
    return {key: _copy(x) for key, x in value.items()} if type(value) is dict else value
