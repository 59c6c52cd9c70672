"""Gates that are sure while they train: learnt thresholds, and learnt scales. Letters: W channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from prune_env.gates.rules import GateRule, GateState
from prune_env.validation import Range, check_fields


@dataclass(frozen=True)
class SoftThreshold(GateRule):
    """Soft threshold reparametrisation (STR: Kusupati et al. 2020, arXiv 2002.03231, equation 5), for whole channels.

    The weights that read a channel become w max(0, 1 - sigmoid(theta) / |w|), with |w| their norm relative to the
    group's mean at the beginning: the gate is the factor. The penalty, -theta, raises the threshold, in place of the
    paper's weight decay of theta. Every channel has its threshold, where the paper has one for each layer.

    Attributes:
        rate: Learning rate of theta.
        start: Theta at the beginning.

    Raises:
        ValueError: If a value is out of range.
    """

    rate: float = 0.1
    start: float = -5.0

    def __post_init__(self) -> None:
        check_fields(self, {"rate": Range(0, ends="()")})

    def initial(self, state: GateState) -> Tensor:
        """Almost no threshold."""
        return torch.full_like(state.norms, self.start)

    def gates(self, theta: Tensor, state: GateState) -> Tensor:
        """max(0, 1 - sigmoid(theta) / norm), [W]."""
        return (1 - torch.sigmoid(theta) / state.norms.clamp(min=1e-12)).clamp(min=0)

    def penalty(self, theta: Tensor, state: GateState) -> Tensor:
        """-theta, [W]."""
        return -theta

    def openness(self, theta: Tensor, state: GateState) -> Tensor:
        """Norm above the threshold, [W]."""
        return state.norms - torch.sigmoid(theta)


@dataclass(frozen=True)
class Slimming(GateRule):
    """Network slimming (Liu et al. 2017, arXiv 1708.06519, equation 1): the gate is theta, the penalty |theta|.

    The paper takes the scales of BatchNorm for gates; here every channel has a scale. The lowest |theta| are closed.

    Attributes:
        rate: Learning rate of theta.

    Raises:
        ValueError: If a value is out of range.
    """

    rate: float = 0.01

    def __post_init__(self) -> None:
        check_fields(self, {"rate": Range(0, ends="()")})

    def initial(self, state: GateState) -> Tensor:
        """1: the network as it is."""
        return torch.ones_like(state.norms)

    def gates(self, theta: Tensor, state: GateState) -> Tensor:
        """Theta, [W]."""
        return theta * 1.0

    def penalty(self, theta: Tensor, state: GateState) -> Tensor:
        """|theta|, [W]."""
        return theta.abs()

    def openness(self, theta: Tensor, state: GateState) -> Tensor:
        """|theta|, [W]."""
        return theta.abs()
