"""Really remove channels: slice parameters, buffers, layer attributes, optimizer state and twins, and put them back.

Letters: G groups, C_g channels of group g in the dense network, W = sum of the *present* widths of all groups. A vector
over channels is flat: all present channels of group 0, then of group 1, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prune_env.groups.description import Grouping

# Layer attributes that repeat a tensor's size, so that printing, exporting and rebuilding a cut layer stay truthful:
# attribute -> (tensor of the layer, dimension). Convolutions are handled apart, as theirs depends on `groups`.
_SIZE_ATTRIBUTES: dict[type[nn.Module], dict[str, tuple[str, int]]] = {
    nn.Linear: {"out_features": ("weight", 0), "in_features": ("weight", 1)},
    nn.modules.batchnorm._BatchNorm: {"num_features": ("weight", 0)},
    nn.PReLU: {"num_parameters": ("weight", 0)},
    nn.Embedding: {"num_embeddings": ("weight", 0), "embedding_dim": ("weight", 1)},
}


@dataclass(frozen=True)
class Snapshot:
    """Everything that training and cutting change: tensors of model and twins, optimizer states, present channels."""

    tensors: list[dict[str, Tensor]]
    optimizer_states: list[list[dict[str, Any]]]
    present: Tensor


class Surgeon:
    """Cuts channels out of one model, again and again, and restores it.

    The slicing plan is made once: for every dimension of every tensor that a group touches, which channel each position
    belongs to. A cut then selects positions whose channel stays. Parameters are replaced by new Parameter objects, as
    assigning to `.data` would break the backward pass of a graph that still lives.

    Args:
        model: The model to cut; it must be dense, i.e. as it was when `grouping` was discovered.
        grouping: Its prunable groups.
        optimizers: Optimizers whose state follows the parameters; they keep training after a cut.
        twins: Modules with the same tensors as (a part of) `model`, cut by the same indices: (prefix, module), where
            `prefix` is the twin's place in the model, "" for a copy of the whole model.
        min_channels: Channels that every group keeps.

    Raises:
        ValueError: If a tensor's size and the grouping do not fit together.
    """

    def __init__(
        self,
        model: nn.Module,
        grouping: Grouping,
        optimizers: Sequence[torch.optim.Optimizer] = (),
        twins: Sequence[tuple[str, nn.Module]] = (),
        min_channels: int = 1,
    ):
        self.model, self.grouping = model, grouping
        self.optimizers = list(optimizers)
        self.twins = list(twins)
        self.min_channels = min_channels
        self._offsets = [0, *torch.tensor(grouping.widths).cumsum(0).tolist()]
        self.present = torch.arange(self._offsets[-1])
        """Dense number of every present channel, int64 [W]."""
        self._group_of = torch.repeat_interleave(torch.arange(len(grouping)), torch.tensor(grouping.widths))
        self._owners = self._plan()

    # ------------------------------------------------------------------ reading
    @property
    def widths(self) -> Tensor:
        """Present channels of each group, int64 [G]."""
        return torch.bincount(self._group_of[self.present], minlength=len(self.grouping))

    @property
    def group_of(self) -> Tensor:
        """Group of every present channel, int64 [W]."""
        return self._group_of[self.present]

    # ------------------------------------------------------------------ cutting
    def cut(self, keep: Tensor) -> None:
        """Remove the present channels where `keep` (bool [W]) is False.

        Raises:
            ValueError: If the mask has the wrong shape, or leaves a group with fewer than `min_channels` channels.
                Nothing is changed in that case.
        """
        if keep.dtype != torch.bool or keep.shape != self.present.shape:
            raise ValueError(
                f"keep must be bool with shape {tuple(self.present.shape)}, one entry for each present channel; "
                f"got {keep.dtype} with shape {tuple(keep.shape)}"
            )
        left = torch.bincount(self.group_of[keep], minlength=len(self.grouping))
        floor = torch.clamp(self.widths, max=self.min_channels)
        if bool((left < floor).any()):
            g = int((left < floor).nonzero()[0])
            raise ValueError(
                f"group {self.grouping.groups[g].name!r} would keep {int(left[g])} of {int(self.widths[g])} channels; "
                f"it must keep at least {int(floor[g])}"
            )
        if bool(keep.all()):
            return
        stays = torch.zeros(self._offsets[-1] + 1, dtype=torch.bool)
        stays[self.present[keep]] = True
        stays[-1] = True  # owner -1: a position that belongs to no group always stays
        self.present = self.present[keep]
        selected: dict[str, list[tuple[int, Tensor]]] = {}
        for (name, dim), owner in self._owners.items():
            mask = stays[owner]
            if not bool(mask.all()):
                self._owners[name, dim] = owner[mask]
                selected.setdefault(name, []).append((dim, mask.nonzero().squeeze(1)))
        swapped: dict[Tensor, nn.Parameter] = {}
        for prefix, module in [("", self.model), *self.twins]:
            for name, indices in selected.items():
                if name.startswith(prefix):
                    self._slice(module, name.removeprefix(prefix).lstrip("."), indices, swapped)
        self._swap_in_optimizers(swapped)

    def _slice(
        self, root: nn.Module, name: str, indices: list[tuple[int, Tensor]], swapped: dict[Tensor, nn.Parameter]
    ) -> None:
        path, _, attribute = name.rpartition(".")
        module = root.get_submodule(path)
        old = getattr(module, attribute)
        if isinstance(old, nn.Parameter):
            new = nn.Parameter(_select(old.detach(), indices), requires_grad=old.requires_grad)
            module._parameters[attribute] = new
            swapped[old] = new
            for optimizer in self.optimizers:
                state = optimizer.state.get(old)
                if state:
                    for key, value in state.items():
                        if isinstance(value, Tensor) and value.shape == old.shape:
                            state[key] = _select(value, indices)
        else:
            module._buffers[attribute] = _select(old, indices)
        _refresh_sizes(module)

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
            tensors=[
                {name: tensor.detach().clone() for name, tensor in _named_tensors(module)}
                for module in [self.model, *(twin for _, twin in self.twins)]
            ],
            optimizer_states=[_copy_state(optimizer) for optimizer in self.optimizers],
            present=self.present.clone(),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Put back, bit for bit, what `snapshot` remembered; the snapshot stays usable."""
        swapped: dict[Tensor, nn.Parameter] = {}
        modules = [self.model, *(twin for _, twin in self.twins)]
        for module, tensors in zip(modules, snapshot.tensors, strict=True):
            for path, child in module.named_modules():
                stem = f"{path}." if path else ""
                for name, old in child._parameters.items():
                    if old is not None:
                        new = nn.Parameter(tensors[stem + name].clone(), requires_grad=old.requires_grad)
                        child._parameters[name] = swapped[old] = new
                for name, buffer in child._buffers.items():
                    if buffer is not None:
                        child._buffers[name] = tensors[stem + name].clone()
                _refresh_sizes(child)
        for optimizer, states in zip(self.optimizers, snapshot.optimizer_states, strict=True):
            optimizer.state.clear()
            remembered = iter(states)
            for settings in optimizer.param_groups:
                settings["params"] = [swapped.get(p, p) for p in settings["params"]]
                for parameter in settings["params"]:
                    state = next(remembered)
                    if state:
                        optimizer.state[parameter] = _clone_state(state)
        self.present = snapshot.present.clone()
        self._owners = self._plan()

    # ------------------------------------------------------------------ planning
    def _plan(self) -> dict[tuple[str, int], Tensor]:
        """For each (tensor, dim) that a group touches: the dense channel number of every present position, or -1."""
        stays = torch.zeros(self._offsets[-1] + 1, dtype=torch.bool)
        stays[self.present] = True
        stays[-1] = True
        return {key: owner[stays[owner]] for key, owner in self._dense_owners.items()}

    @property
    def _dense_owners(self) -> dict[tuple[str, int], Tensor]:
        if not hasattr(self, "_dense_owner_cache"):
            tensors = dict(_named_tensors(self.model))
            owners: dict[tuple[str, int], Tensor] = {}
            for offset, group in zip(self._offsets, self.grouping.groups, strict=False):
                for s in group.slices:
                    size = tensors[s.tensor].shape[s.dim]
                    owner = owners.setdefault((s.tensor, s.dim), torch.full((size,), -1))
                    positions = torch.as_tensor(s.positions)
                    if int(positions.max()) >= size:
                        raise ValueError(
                            f"group {group.name!r} reaches position {int(positions.max())} of dimension {s.dim} of "
                            f"{s.tensor!r}, which has {size}: the grouping belongs to another model"
                        )
                    owner[positions] = (offset + torch.arange(group.channels)).unsqueeze(1).expand_as(positions)
            self._dense_owner_cache = owners
        return self._dense_owner_cache


def _select(tensor: Tensor, indices: list[tuple[int, Tensor]]) -> Tensor:
    for dim, index in indices:
        tensor = tensor.index_select(dim, index)
    return tensor


def _named_tensors(module: nn.Module):
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _copy_state(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    return [_clone_state(optimizer.state.get(p, {})) for s in optimizer.param_groups for p in s["params"]]


def _clone_state(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value.clone() if isinstance(value, Tensor) else value for key, value in state.items()}


def _refresh_sizes(module: nn.Module) -> None:
    for kind, attributes in _SIZE_ATTRIBUTES.items():
        if isinstance(module, kind):
            for attribute, (name, dim) in attributes.items():
                tensor = getattr(module, name)
                if tensor is None and isinstance(module, nn.modules.batchnorm._BatchNorm):
                    tensor = module.running_mean
                if tensor is not None:
                    setattr(module, attribute, tensor.shape[dim])
