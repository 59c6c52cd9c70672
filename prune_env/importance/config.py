"""What the formulas of importance and regularisation leave open: arXiv 2601.19794, section 3."""

from __future__ import annotations

from dataclasses import dataclass

from prune_env.validation import Range, check_fields

SCOPES = ("root", "group")
WEIGHTS = ("constant", "ramp")
_POSITIVE = Range(0, ends="()")


@dataclass(frozen=True)
class ImportanceConfig:
    """How gradients become importance.

    Attributes:
        scope: "root" measures the root layer's weight and bias, as the paper's Table 2 counts them; "group" every slice
            of a group.
        ema_decay: Decay of the moving averages, in [0, 1): the paper's gamma (a name that is left to the discount of
            reinforcement learning).
        kappa: Weight of one observation in the Gamma posterior of the Bayes measure, positive.
        eta: Scale of the gradient energy in that posterior, positive.

    Raises:
        ValueError: If a value is unknown or out of range.
    """

    scope: str = "root"
    ema_decay: float = 0.9
    kappa: float = 0.25
    eta: float = 1.0

    def __post_init__(self) -> None:
        ranges = {"ema_decay": Range(0, 1), "kappa": _POSITIVE, "eta": _POSITIVE}
        check_fields(self, {"scope": SCOPES, **ranges})


@dataclass(frozen=True)
class RegularizerConfig:
    """The cosine-L1 term, lambda_weight(t) * sum_i lambda_i(t) ||Theta_i||_1, see `CosineL1`.

    Attributes:
        enabled: Whether the term is part of the loss at all.
        base: l_base, the strength that the bounds are multiples of, positive.
        low: l_min / l_base, at least 0.
        high: l_max / l_base, at least `low`.
        period: T, the period of the cosine [epochs], positive.
        weight: "constant" keeps lambda_weight at 1; "ramp" raises it linearly from 0 to 1 over the `ramp` first epochs:
            small at first, and grown once the task loss has converged (section 3.2.3).
        ramp: Length of the ramp [epochs], positive: about the time in which the task loss converges.
        scales: Strength of an L1 term on the scales of normalisation layers, at least 0 (network slimming,
            arXiv 1708.06519, equation 1). It needs no `enabled`.

    Raises:
        ValueError: If a value is unknown or out of range.
    """

    enabled: bool = True
    base: float = 1e-5
    low: float = 0.1
    high: float = 2.0
    period: float = 20.0
    weight: str = "constant"
    ramp: float = 20.0
    scales: float = 0.0

    def __post_init__(self) -> None:
        ranges = {"base": _POSITIVE, "low": Range(0), "high": Range(0), "period": _POSITIVE, "ramp": _POSITIVE}
        ranges["scales"] = Range(0)
        check_fields(self, {"weight": WEIGHTS, **ranges})
        if self.low > self.high:
            raise ValueError(f"low must be at most high, got low={self.low} and high={self.high}")
