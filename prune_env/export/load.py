"""Load a pruned network: cut a dense instance to shape and fill it. Every field is checked; nothing is unpickled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from prune_env.export.save import DESCRIPTION, FORMAT
from prune_env.export.stages import Stage, cut_to_shape, layers_of, shapes_of
from prune_env.groups import Group, Grouping, Slice
from prune_env.groups.tracing.replica import copied
from prune_env.groups.types import Counter
from prune_env.storage import DamagedFileError, expanded, read_sealed

_REMEDY = "save the network again"
_KINDS = ("component", "coupling")
_ROLES = ("out", "in")


class ArchitectureError(ValueError):
    """A network is another one than the saved one was before it was pruned; the first difference is named."""


def load_pruned(folder: str | Path, model: nn.Module) -> nn.Module:
    """Cut a dense network to the shape of a saved one, and fill it with its weights.

    Args:
        folder: What `save` wrote.
        model: A dense instance of the same class, made as the pruned one was; it is changed in place, on its device.

    Returns:
        The same model.

    Raises:
        ArchitectureError: If the model is another network than the saved one was; it is left as it was.
        DamagedFileError: If a file does not hold what was written; the model is left as it was.
        OSError: If a file cannot be read.
    """
    path = expanded(folder) / DESCRIPTION
    said = read_sealed(path, _REMEDY)
    try:
        if said["format"] != FORMAT:
            raise ValueError(f"it has format {said['format']!r}, and this version of prune_env reads {FORMAT}")
        tensors = _read_tensors(path.parent, said["tensors"])
        stages = [_stage(part, _within(tensors, f"stage.{i}.")) for i, part in enumerate(_list(said["stages"]))]
        if not stages or len(tensors) != len(_within(tensors, "model.")) + sum(map(_count, stages)):
            raise ValueError("it lacks tensors, or holds others")
        state = _state(_within(tensors, "model."), said["aliases"])
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, SafetensorError) as error:
        raise DamagedFileError(f"{path} is damaged ({_text(error)}); {_REMEDY}") from error
    _check_architecture(model, stages[0])
    rehearsal = copied(model)
    try:
        cut_to_shape(rehearsal, stages)
        _check_stages(stages)
        rehearsal.load_state_dict(state)
        _check_dtypes(rehearsal, state)
    except (ValueError, KeyError, IndexError, RuntimeError, AttributeError) as error:
        raise DamagedFileError(f"{path} is damaged ({_text(error)}); {_REMEDY}") from error
    cut_to_shape(model, stages)
    model.load_state_dict(state)
    return model


def read_report(folder: str | Path) -> dict[str, Any]:
    """The report that was saved with a network.

    Raises:
        DamagedFileError: If it does not hold what was written.
        OSError: If it cannot be read.
    """
    report = read_sealed(expanded(folder) / DESCRIPTION, _REMEDY).get("report")
    return report if isinstance(report, dict) else {}


# ---------------------------------------------------------------------- the file
def _read_tensors(folder: Path, said: Any) -> dict[str, Tensor]:
    name, digest = said["file"], said["sha256"]
    if not isinstance(name, str) or name != f"model-{str(digest)[:16]}.safetensors" or "/" in name or "\\" in name:
        raise ValueError(f"it names its tensors {name!r}")
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise ValueError(f"{name} cannot be read ({error.strerror or error})") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"the checksum of {name} does not fit")
    return load_tensors(content)


def _within(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _state(tensors: dict[str, Tensor], aliases: Any) -> dict[str, Tensor]:
    for name, other in _dict(aliases).items():
        if name in tensors:
            raise ValueError(f"{name!r} is there twice")
        tensors = {**tensors, name: tensors[other]}
    return tensors


def _stage(said: Any, tensors: dict[str, Tensor]) -> Stage:
    shapes = {name: tuple(map(_whole, _list(shape))) for name, shape in _dict(said["shapes"]).items()}
    groups = tuple(_group(part, g, tensors, shapes) for g, part in enumerate(_list(said["groups"])))
    if not groups or len({group.name for group in groups}) < len(groups):
        raise ValueError("a name of a group is there twice, or there is none")
    _check_disjoint(groups, shapes)
    grouping, kept = Grouping(groups), tensors["kept"]
    total = int(grouping.widths.sum())
    ascending = kept.dtype == torch.int64 and kept.dim() == 1 and bool((kept.diff() > 0).all())
    if not ascending or not len(kept) or int(kept[0]) < 0 or int(kept[-1]) >= total:
        raise ValueError(f"the channels that stay are no numbers below {total} in ascending order")
    layers = {name: _dict(settings) for name, settings in _dict(said["layers"]).items()}
    return Stage(grouping, kept, shapes, layers)


def _group(said: Any, g: int, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> Group:
    channels, least = _whole(said["channels"], 1), _whole(said["least"], 1)
    slices = []
    for s, (tensor, dim, role) in enumerate(_list(said["slices"])):
        positions, shape = tensors[f"{g}.{s}"], shapes[tensor]
        if role not in _ROLES or _whole(dim) >= len(shape):
            raise ValueError(f"{tensor!r} has no dimension {dim!r}, or its role is {role!r}")
        inside = positions.numel() and int(positions.min()) >= 0 and int(positions.max()) < shape[dim]
        if positions.dtype != torch.int64 or positions.dim() != 2 or len(positions) != channels or not inside:
            raise ValueError(f"positions in {tensor!r} do not fit {channels} channels and a size of {shape[dim]}")
        slices.append(Slice(tensor, dim, positions.numpy(), role))
    if not slices or said["kind"] not in _KINDS:
        raise ValueError(f"group {said['name']!r} has no slices, or is of kind {said['kind']!r}")
    counters = tuple(Counter(_word(m), _word(n), _whole(count, 1)) for m, n, count in _list(said["counters"]))
    components = tuple(map(_word, _list(said["components"])))
    return Group(
        _word(said["name"]), said["kind"], components, channels, _word(said["root"]), tuple(slices), least=least,
        counters=counters,
    )  # fmt: skip


def _check_disjoint(groups: tuple[Group, ...], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Every position along a dimension belongs to one channel at most."""
    owned = {(s.tensor, s.dim): np.zeros(shapes[s.tensor][s.dim], dtype=int) for g in groups for s in g.slices}
    for group in groups:
        for piece in group.slices:
            np.add.at(owned[piece.tensor, piece.dim], piece.positions.ravel(), 1)
    if twice := [name for (name, _), times in owned.items() if (times > 1).any()]:
        raise ValueError(f"a position in {twice[0]!r} belongs to two channels")


def _count(stage: Stage) -> int:
    return 1 + sum(len(group.slices) for group in stage.grouping)


# ---------------------------------------------------------------------- the network
def _check_architecture(model: nn.Module, stage: Stage) -> None:
    difference = (
        _difference(_named(stage.layers), _named(layers_of(model)))
        or _difference(_shown(stage.shapes), _shown(shapes_of(model)))
        or _counter_difference(model, stage)
    )
    if difference:
        raise ArchitectureError(
            f"this {type(model).__name__} is another network than the saved one before it was pruned: {difference}; "
            "give a dense instance that is made in the same way"
        )


def _named(layers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Every setting of every module by a name that says what it is."""
    return {
        f"{setting} of {f'module {name!r}' if name else 'the model'}": value
        for name, settings in layers.items()
        for setting, value in settings.items()
    }


def _shown(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    return {f"shape of {name!r}": list(shape) for name, shape in shapes.items()}


def _difference(saved: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    for name, value in saved.items():
        if name not in given:
            return f"it lacks the {name}, which was {value!r}"
        if given[name] != value:
            return f"the {name} is {given[name]!r} and was {value!r}"
    extra = [name for name in given if name not in saved]
    return f"the {extra[0]} is {given[extra[0]]!r}, and there was none" if extra else ""


def _counter_difference(model: nn.Module, stage: Stage) -> str:
    for group in stage.grouping:
        for counter in group.counters:
            expected = counter.per_channel * group.channels
            found = getattr(model.get_submodule(counter.module), counter.name, None)
            if found != expected:
                return f"{counter.module}.{counter.name} is {found!r} here and was {expected}"
    return ""


def _check_stages(stages: list[Stage]) -> None:
    """Whether each stage begins as the one before it ends."""
    for before, after in pairwise(stages):
        gone = ~before.mask.numpy()
        shapes = {name: list(shape) for name, shape in before.shapes.items()}
        first = 0
        for group in before.grouping:
            removed = gone[first : first + group.channels]
            first += group.channels
            for piece in group.slices:
                shapes[piece.tensor][piece.dim] -= int(removed.sum()) * piece.positions.shape[1]
        if after.shapes != {name: tuple(shape) for name, shape in shapes.items()}:
            raise ValueError("its stages do not fit each other")


def _check_dtypes(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, Tensor) and tensor.dtype != state[name].dtype:
            raise ValueError(f"{name!r} is saved as {state[name].dtype}, and the network has {tensor.dtype}")


# ---------------------------------------------------------------------- fields
def _whole(value: Any, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{value!r} is no whole number from {least}")
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no name")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r:.100} is no list")
    return value


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r:.100} is no object")
    return value


def _text(error: Exception) -> str:
    text = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(text.split())[:300]
