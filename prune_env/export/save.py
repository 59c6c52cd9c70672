"""Save a pruned network: its tensors as safetensors, and what was cut as JSON; nothing is pickled.

A folder holds `pruned.json`, which names the file of the tensors by their checksum: it is replaced last and in one
piece, so that the folder holds one whole network at any time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from prune_env.export.stages import Stage, stages_of
from prune_env.groups import Group, Slice
from prune_env.groups.tracing.stored import place_of
from prune_env.storage import expanded, write_atomically, write_sealed

FORMAT = 1
DESCRIPTION = "pruned.json"


def save_pruned(model: nn.Module, folder: str | Path, report: Mapping[str, Any] | None = None) -> Path:
    """Save a network that was pruned, so that `load_pruned` makes it from a dense instance.

    Args:
        model: What `prune` returned, as it is or after further training.
        folder: Where to; an earlier network there is replaced.
        report: JSON to keep beside it.

    Returns:
        The folder.

    Raises:
        ValueError: If the network was not pruned here, or holds state that is no tensor.
        OSError: If it cannot be written; the file and a remedy are named.
    """
    folder, stages = expanded(folder), stages_of(model)
    if not stages:
        raise ValueError(
            f"this {type(model).__name__} was not pruned by prune_env, or a copy lost what was cut: save what prune() "
            "returned, or its state_dict() if it is dense"
        )
    state, aliases = _state(model)
    tensors = {f"model.{name}": tensor for name, tensor in state.items()}
    for i, stage in enumerate(stages):
        tensors |= _positions(f"stage.{i}", stage)
    content = save_tensors(tensors)
    digest = hashlib.sha256(content).hexdigest()
    name = f"model-{digest[:16]}.safetensors"
    description = {
        "format": FORMAT,
        "model": type(model).__name__,
        "tensors": {"file": name, "sha256": digest},
        "aliases": aliases,
        "stages": [_described(stage) for stage in stages],
        "report": dict(report or {}),
    }
    write_atomically(folder / name, content)
    write_sealed(folder / DESCRIPTION, description)
    for old in folder.glob("model-*.safetensors"):
        if old.name != name:
            old.unlink(missing_ok=True)
    return folder


def state_bytes(model: nn.Module) -> int:
    """Size of a network's tensors as a safetensors file [bytes]."""
    return len(save_tensors(_state(model)[0]))


def _state(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a network by name, those that share their memory once; and the other names of these."""
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[Any, str] = {}
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"{name!r} of the network is a {type(value).__name__}, and only tensors are saved: nothing is pickled"
            )
        place = place_of(value)
        if place is not None and place in first:
            aliases[name] = first[place]
            continue
        first[place] = name
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
    return tensors, aliases


def _positions(prefix: str, stage: Stage) -> dict[str, Tensor]:
    tensors = {f"{prefix}.kept": stage.kept.clone()}
    for g, group in enumerate(stage.grouping.groups):
        for s, piece in enumerate(group.slices):
            tensors[f"{prefix}.{g}.{s}"] = torch.from_numpy(piece.positions).to(torch.int64).contiguous()
    return tensors


def _described(stage: Stage) -> dict[str, Any]:
    return {
        "shapes": {name: list(shape) for name, shape in stage.shapes.items()},
        "layers": stage.layers,
        "groups": [_group(group) for group in stage.grouping.groups],
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "kind": group.kind,
        "components": list(group.components),
        "channels": group.channels,
        "root": group.root,
        "least": group.least,
        "slices": [_slice(piece) for piece in group.slices],
        "counters": [[c.module, c.name, c.per_channel] for c in group.counters],
    }


def _slice(piece: Slice) -> list[Any]:
    return [piece.tensor, piece.dim, piece.role]
