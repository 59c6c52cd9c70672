"""Gates that are a mask which changes by rule, without gradient: dynamic surgery, RigL. Letters: W channels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prune_env.gates.rules import GateRule, GateState
from prune_env.validation import Range, check_fields


class Masked(GateRule):
    """The mask is the gate."""

    def gates(self, theta: Tensor, state: GateState) -> Tensor:
        """The mask as numbers, [W]."""
        return state.mask.to(theta.dtype)

    def openness(self, theta: Tensor, state: GateState) -> Tensor:
        """Norms of what is open; what is closed is below 0, the smaller the norm, [W]."""
        return torch.where(state.mask, state.norms + 1e-12, state.norms - state.norms.max() - 1)


@dataclass(frozen=True)
class DynamicSurgery(Masked):
    """Dynamic network surgery (Guo et al. 2016, arXiv 1608.04493, equation 3), for whole channels.

    A gate closes where the norm of the weights falls below a, opens again (is spliced) where it exceeds b, and stays as
    it is in between. Weights go on learning behind closed gates. The threshold, at which the share of channels that the
    budget leaves stays above it, is reached over the first half of the steps by a cubic; a and b are the paper's 0.9
    and 1.1 times it.

    Attributes:
        low: a, relative to the threshold.
        high: b, relative to the threshold.

    Raises:
        ValueError: If a value is out of range.
    """

    splices: ClassVar[bool] = True

    low: float = 0.9
    high: float = 1.1

    def __post_init__(self) -> None:
        check_fields(self, {"low": Range(0, 1, "[]"), "high": Range(1)})

    def update(self, state: GateState) -> None:
        """Close and splice."""
        share = 1 - (1 - state.keep) * (1 - (1 - min(1.0, 2 * state.progress)) ** 3)
        threshold = torch.quantile(state.norms, 1 - share)
        stays = (state.norms >= self.high * threshold) | (state.mask & (state.norms >= self.low * threshold))
        state.mask = stays if share < 1 else torch.ones_like(stays)


@dataclass(frozen=True)
class RigL(Masked):
    """RigL (Evci et al. 2020, arXiv 1911.11134, algorithm 1), with channels in place of weights.

    From the channels with the largest norms, as many as the budget leaves, every `every` steps the share
    alpha / 2 (1 + cos(pi t / t_end)) of the open ones with the smallest norms is closed, and as many of the closed ones
    with the largest gradients are opened. t_end is three quarters of the steps. Weights of a channel that opens are
    those that it had when it closed; the paper starts them at zero, since it has no dense network to begin with.

    Attributes:
        every: Steps between two updates.
        alpha: Share at the beginning.

    Raises:
        ValueError: If a value is out of range.
    """

    every: int = 10
    alpha: float = 0.3

    def __post_init__(self) -> None:
        check_fields(self, {"every": Range(1), "alpha": Range(0, 1, "[]")})

    def initial(self, state: GateState) -> Tensor:
        """The mask of the largest norms; theta only counts steps, [W]."""
        count = max(1, round(state.keep * len(state.norms)))
        state.mask = _largest(state.norms, count)
        return torch.zeros_like(state.norms)

    def update(self, state: GateState) -> None:
        """Close and open."""
        step = state.step
        if step % self.every or state.progress >= _END:
            return
        count = int(state.mask.sum())
        share = self.alpha / 2 * (1 + math.cos(math.pi * state.progress / _END))
        moved = min(round(share * count), len(state.mask) - count, count - 1)
        if moved <= 0:
            return
        kept = _largest(torch.where(state.mask, state.norms, -torch.inf), count - moved)
        grown = _largest(torch.where(state.mask, -torch.inf, state.slopes), moved)
        state.mask = kept | grown


_END = 0.75


def _largest(values: Tensor, count: int) -> Tensor:
    return torch.zeros_like(values, dtype=torch.bool).index_fill(0, values.argsort(descending=True)[:count], True)
