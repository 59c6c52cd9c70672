"""Networks over groups: weights are shared, and a mean over all groups gives context (Deep Sets, arXiv 1703.06114).

A network over a flat observation overfits to group positions, and with them to the few networks that it was trained on.
Shared weights are fewer, all of them are trained on every group of every network, and they take any number of groups.
Where observations are padded, a column says which groups are there; the others have no say in anything.

Letters: B observations, G groups, F columns, H hidden units, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class GroupTable(nn.Module):
    """A flat observation as a table of each group's columns, standardised, and their differences from the mean group.

    Columns whose scale is that of the loss, such as importance, show their differences only: a loss that is multiplied
    by a number leaves the table as it is. An action behind the observation becomes one more column.

    Args:
        columns: F.
        actions: Whether an action [G] follows the observation, as in the input of Q functions.
    """

    shift: Tensor
    scale: Tensor
    shown: Tensor
    mask: Tensor

    def __init__(self, columns: int, actions: bool = False):
        super().__init__()
        self.columns, self.actions = columns, actions
        self.register_buffer("shift", torch.zeros(columns))
        self.register_buffer("scale", torch.ones(columns))
        self.register_buffer("shown", torch.ones(columns + actions))
        self.register_buffer("mask", torch.zeros(columns))  # 1 at the column that says which groups are there

    @property
    def features(self) -> int:
        """Numbers that a group has in the table."""
        return 2 * (self.columns + self.actions)

    def calibrate(self, observations: Tensor, relative: Sequence[int] = (), mask: int | None = None) -> None:
        """Standardise every column over all groups of these observations, [B, G * F], from now on.

        Args:
            observations: Of dense networks.
            relative: Indices of the columns that show their differences only.
            mask: Index of the column that says which groups are there; None if all always are.
        """
        self.shown[list(relative)] = 0.0
        table = observations.reshape(-1, self.columns)
        if mask is not None:
            self.mask[mask] = 1.0
            table = table[table[:, mask] > 0]
        self.shift = table.mean(0)
        spread = table.std(0)
        # Columns that are constant over dense networks, such as progress, vary in later rounds: they keep their scale.
        self.scale = torch.where(spread < 1e-6, 1.0, spread.clamp_min(1e-2))

    def forward(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """[B, G * F], or [B, G * (F + 1)] with an action, to [B, G, features], and who is there, [B, G, 1]."""
        groups = flat.shape[1] // (self.columns + self.actions)
        observations, actions = flat[:, : groups * self.columns], flat[:, groups * self.columns :]
        raw = observations.reshape(-1, groups, self.columns)
        there = (raw * self.mask).sum(-1, keepdim=True) + (1.0 - self.mask.sum())
        table = (raw - self.shift) / self.scale * (1.0 - self.mask)
        if self.actions:
            table = torch.cat([table, actions[:, :, None]], dim=-1)
        return torch.cat([table * self.shown, table - masked_mean(table, there)], dim=-1), there


class GroupEncoder(nn.Module):
    """Two layers with shared weights; the second also reads the mean of the first over all groups.

    Args:
        columns: F.
        hidden: H.
        positions: G for a learned embedding of each group's position; 0 for none, which makes the encoder equivariant
            to permutations of the groups.
        actions: Whether an action follows the observation.
    """

    def __init__(self, columns: int, hidden: int, positions: int = 0, actions: bool = False):
        super().__init__()
        self.table = GroupTable(columns, actions)
        self.alone = nn.Linear(self.table.features, hidden)
        self.together = nn.Linear(2 * hidden, hidden)
        self.position_embedding = nn.Parameter(torch.zeros(positions, hidden)) if positions else None

    def forward(self, flat: Tensor) -> Tensor:
        """A flat observation to [B, G, H + 1]; the last number of a group is 1 if it is there, else 0."""
        table, there = self.table(flat)
        features = self.alone(table)
        if self.position_embedding is not None:
            features = features + self.position_embedding
        alone = torch.tanh(features)
        summary = masked_mean(alone, there).expand_as(alone)
        return torch.cat([torch.tanh(self.together(torch.cat([alone, summary], dim=-1))), there], dim=-1)


class GroupOutput(nn.Module):
    """One number for each group by a shared linear map, [B, G, H + 1] to [B, G]; 0 for groups that are not there."""

    def __init__(self, hidden: int):
        super().__init__()
        self.linear = nn.Linear(hidden, 1)
        nn.init.orthogonal_(self.linear.weight, gain=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, latent: Tensor) -> Tensor:
        """[B, G, H + 1] to [B, G]."""
        return self.linear(latent[..., :-1]).squeeze(-1) * latent[..., -1]


class SetOutput(nn.Module):
    """Numbers of the whole network, [B, G, H + 1] to [B, O]: a linear map of the mean over groups."""

    def __init__(self, hidden: int, outputs: int = 1):
        super().__init__()
        self.linear = nn.Linear(hidden, outputs)

    def forward(self, latent: Tensor) -> Tensor:
        """[B, G, H + 1] to [B, O]."""
        return self.linear(summarise(latent))


def masked_mean(values: Tensor, there: Tensor) -> Tensor:
    """Mean of values [B, G, N] over the groups that are there [B, G, 1], as [B, 1, N]."""
    return (values * there).sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp_min(1.0)


def summarise(latent: Tensor) -> Tensor:
    """Mean of an encoder's latents [B, G, H + 1] over the groups that are there, [B, H]."""
    return masked_mean(latent[..., :-1], latent[..., -1:])[:, 0]


def calibrate(module: nn.Module, observations: Tensor, relative: Sequence[int] = (), mask: int | None = None) -> None:
    """`GroupTable.calibrate` in all networks of a module."""
    for part in module.modules():
        if isinstance(part, GroupTable):
            part.calibrate(observations, relative, mask)
