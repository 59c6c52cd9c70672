"""Gates that are random while they train: hard concrete, Gumbel, variational dropout. Letters: W channels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from prune_env.gates.rules import GateRule, GateState
from prune_env.validation import Range, check_fields

_POSITIVE = Range(0, ends="()")


@dataclass(frozen=True)
class HardConcrete(GateRule):
    """L0 regularisation (Louizos et al. 2018, arXiv 1712.01312, equations 10 to 13).

        s = sigmoid((log u - log(1 - u) + theta) / beta);  gate = min(1, max(0, s (zeta - gamma) + gamma))

    with u uniform; the penalty is the probability that the gate is not 0, sigmoid(theta - beta log(-gamma / zeta)).

    Attributes:
        rate: Learning rate of theta.
        beta: Temperature.
        gamma: Lower end of the stretched interval, negative.
        zeta: Upper end, above 1.
        start: Theta at the beginning: gates are open with a probability of about 0.99.

    Raises:
        ValueError: If a value is out of range.
    """

    rate: float = 0.1
    beta: float = 2 / 3
    gamma: float = -0.1
    zeta: float = 1.1
    start: float = 2.5

    def __post_init__(self) -> None:
        lower, upper = Range(-math.inf, 0, "()"), Range(1, ends="()")
        check_fields(self, {"rate": _POSITIVE, "beta": _POSITIVE, "gamma": lower, "zeta": upper})

    def initial(self, state: GateState) -> Tensor:
        """Open."""
        return torch.full_like(state.norms, self.start)

    def gates(self, theta: Tensor, state: GateState) -> Tensor:
        """A sample, [W]."""
        u = state.noise
        return self._stretched(torch.sigmoid((u.log() - (1 - u).log() + theta) / self.beta))

    def penalty(self, theta: Tensor, state: GateState) -> Tensor:
        """Probabilities, [W]."""
        return torch.sigmoid(theta - self.beta * math.log(-self.gamma / self.zeta))

    def final(self, theta: Tensor, state: GateState) -> Tensor:
        """The stretched sigmoid of theta, [W] (equation 13)."""
        return self._stretched(torch.sigmoid(theta))

    def openness(self, theta: Tensor, state: GateState) -> Tensor:
        """Theta above the value at which the final gate is 0, [W]."""
        return theta - math.log(-self.gamma / self.zeta)

    def _stretched(self, s: Tensor) -> Tensor:
        return (s * (self.zeta - self.gamma) + self.gamma).clamp(0, 1)


@dataclass(frozen=True)
class Gumbel(GateRule):
    """Gumbel-softmax over open and closed (Jang et al. 2017, arXiv 1611.01144, equation 2).

    The gate is the softmax's share of "open": sigmoid((theta + log u - log(1 - u)) / tau), as the difference of two
    Gumbel variables is logistic. The temperature tau falls by equal factors. The penalty is sigmoid(theta).

    Attributes:
        rate: Learning rate of theta.
        hot: Temperature at the beginning.
        cold: Temperature at the end.
        start: Theta at the beginning.

    Raises:
        ValueError: If a value is out of range.
    """

    rate: float = 0.1
    hot: float = 1.0
    cold: float = 0.1
    start: float = 3.0

    def __post_init__(self) -> None:
        check_fields(self, dict.fromkeys(("rate", "hot", "cold"), _POSITIVE))

    def initial(self, state: GateState) -> Tensor:
        """Open."""
        return torch.full_like(state.norms, self.start)

    def gates(self, theta: Tensor, state: GateState) -> Tensor:
        """A sample, [W]."""
        u, tau = state.noise, self.hot * (self.cold / self.hot) ** state.progress
        return torch.sigmoid((theta + u.log() - (1 - u).log()) / tau)

    def penalty(self, theta: Tensor, state: GateState) -> Tensor:
        """Probabilities, [W]."""
        return torch.sigmoid(theta)

    def final(self, theta: Tensor, state: GateState) -> Tensor:
        """1 where open is likelier than closed, [W]."""
        return (theta > 0).to(theta.dtype)

    def openness(self, theta: Tensor, state: GateState) -> Tensor:
        """Theta, [W]."""
        return theta


@dataclass(frozen=True)
class VariationalDropout(GateRule):
    """Dropout rates of channels, learnt (Molchanov et al. 2017, arXiv 1701.05369; for groups: Louizos et al. 2017,
    arXiv 1705.08665).

    The gate is 1 + sqrt(alpha) e with e standard normal and theta = -log alpha; the penalty is the approximate
    divergence from the log-uniform prior (1701.05369, equation 14),

        0.63576 (1 - sigmoid(1.8732 + 1.48695 log alpha)) + log(1 + 1 / alpha) / 2

    A channel of which log alpha exceeds 3 is noise: its gate is closed.

    Attributes:
        rate: Learning rate of theta.
        threshold: Log alpha at which a gate is closed.
        start: Theta at the beginning.

    Raises:
        ValueError: If a value is out of range.
    """

    rate: float = 0.1
    threshold: float = 3.0
    start: float = 6.0

    def __post_init__(self) -> None:
        check_fields(self, {"rate": _POSITIVE})

    def initial(self, state: GateState) -> Tensor:
        """Little noise."""
        return torch.full_like(state.norms, self.start)

    def gates(self, theta: Tensor, state: GateState) -> Tensor:
        """A sample, [W]."""
        normal = math.sqrt(2) * torch.erfinv(2 * state.noise - 1)
        return 1 + torch.exp(-theta / 2) * normal

    def penalty(self, theta: Tensor, state: GateState) -> Tensor:
        """Divergences, [W]."""
        k1, k2, k3 = 0.63576, 1.8732, 1.48695
        return k1 * (1 - torch.sigmoid(k2 - k3 * theta)) + torch.nn.functional.softplus(theta) / 2

    def final(self, theta: Tensor, state: GateState) -> Tensor:
        """1 where the noise is small enough, [W]."""
        return (theta > -self.threshold).to(theta.dtype)

    def openness(self, theta: Tensor, state: GateState) -> Tensor:
        """Theta above its value at the threshold, [W]."""
        return theta + self.threshold
