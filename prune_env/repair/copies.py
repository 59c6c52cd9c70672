"""Layers and their copies in target networks, which a repair changes alike."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from prune_env.groups import Surgeon


def copies_of(surgeon: Surgeon, name: str) -> Iterator[nn.Module]:
    """The layer of that name in the model, and in every target network that has it."""
    yield surgeon.model.get_submodule(name)
    for prefix, network in surgeon.target_networks:
        inside = name if not prefix else name.removeprefix(f"{prefix}.")
        if not prefix or inside != name:
            yield network.get_submodule(inside)
