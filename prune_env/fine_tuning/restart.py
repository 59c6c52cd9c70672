"""Training that starts again at the widths that are left: from an early checkpoint, or from fresh weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from prune_env.dense import Network
from prune_env.dense.early import early_tensors
from prune_env.fine_tuning.base import FineTuning
from prune_env.groups import Surgeon
from prune_env.validation import Range, check_fields


@dataclass(frozen=True)
class Rewind(FineTuning):
    """Put the weights that stay back to those of an early dense checkpoint (Frankle et al. 2020, arXiv 1912.05671).

    Learning rate and optimizer start anew as well (weight rewinding: Renda et al. 2020, arXiv 2003.02389).

    Attributes:
        share: Share of dense training after which the checkpoint is, in (0, 1). It is stored when it is first asked
            for, by repeating that share of dense training.

    Raises:
        ValueError: If `share` is out of range.
    """

    share: float = 0.1

    def __post_init__(self) -> None:
        check_fields(self, {"share": Range(0, 1, "()")})

    def begin(self, network: Network) -> None:
        """Make the checkpoint, if it is not stored.

        Raises:
            ValueError: If the network was handed in: nothing could make its early checkpoint.
        """
        if network.spec is None:
            raise ValueError(
                f"network {network.label!r} was handed in and has no early checkpoint: choose fine_tuning='plain', "
                "'distillation' or 'scratch'"
            )
        if self.share not in network.early:
            network.early[self.share] = early_tensors(network.spec, self.share)

    def after_cut(self, network: Network, seed: int) -> None:
        """Put the weights back."""
        target = network.train_state.target
        model = target.build(torch.Generator())
        model.load_state_dict(network.early[self.share])
        for name, copied in target.target_networks(model):  # as in a checkpoint without them
            copied.load_state_dict(model.get_submodule(name).state_dict())
        train_again(network, model)


class Scratch(FineTuning):
    """Fresh weights at the widths that are left (Liu et al. 2019, arXiv 1810.05270): the reference of all cuts.

    Weights are drawn as those of a dense network, and scaled to the inputs that are left: by the root of the dense
    number over the present one. Learning rate and optimizer start anew.
    """

    def after_cut(self, network: Network, seed: int) -> None:
        """Draw the weights."""
        state = network.train_state
        model = state.target.build(torch.Generator().manual_seed(seed))
        train_again(network, model)
        scale_inputs(state.surgeon)


def train_again(network: Network, dense: nn.Module) -> None:
    """Give the network the tensors of a dense one, at the channels that it has, and fresh optimizers."""
    state = network.train_state
    surgeon, target = state.surgeon, state.target
    targets = list(target.target_networks(dense))
    for module in (dense, *(module for _, module in targets)):
        module.to(next(state.model.parameters()).device)
    other = Surgeon(dense, surgeon.grouping, (), targets)
    keep = torch.zeros(len(other.present), dtype=torch.bool)
    keep[surgeon.present] = True
    optimizers = target.optimizers(dense)
    if not bool(keep.all()):
        other.cut(keep)
    pairs = [(state.model, dense), *zip((m for _, m in surgeon.target_networks), (m for _, m in targets), strict=True)]
    with torch.no_grad():
        for mine, theirs in pairs:
            for a, b in zip(
                [*mine.parameters(), *mine.buffers()], [*theirs.parameters(), *theirs.buffers()], strict=True
            ):
                a.copy_(b)
    for optimizer, new in zip(state.optimizers, optimizers, strict=True):
        optimizer.state.clear()
        for settings, fresh in zip(optimizer.param_groups, new.param_groups, strict=True):
            settings.update({name: value for name, value in fresh.items() if name != "params"})


def scale_inputs(surgeon: Surgeon) -> None:
    """Multiply what reads channels by the root of the number of its inputs in the dense network over those now."""
    parameters = dict(surgeon.model.named_parameters(remove_duplicate=False))
    reads = {(s.tensor, s.dim) for group in surgeon.grouping for s in group.slices if s.role == "in"}
    removed = dict.fromkeys(reads, 0)
    widths = surgeon.widths.numpy()
    for g, group in enumerate(surgeon.grouping):
        for s in group.slices:
            if (s.tensor, s.dim) in reads and s.role == "in":
                removed[s.tensor, s.dim] += (group.channels - int(widths[g])) * s.positions.shape[1]
    with torch.no_grad():
        for (tensor, dim), count in removed.items():
            if tensor in parameters:
                present = parameters[tensor].shape[dim]
                parameters[tensor].mul_(float(np.sqrt((present + count) / present)))
