"""What an episode is worth: named terms, and objectives that make of them a potential; its increments are rewards."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Terms:
    """What is known of the pruned network after a round; all of it is always in `info["reward_terms"]`.

    Attributes:
        retained: R = (score - floor) / (dense - floor) on validation data; -1 where the network collapsed.
        sparsity: Share of parameters removed.
        sparsity_macs: Share of multiply-accumulates removed.
        budget: The sparsity that the episode is to end at; 0 without a budget.
        budget_sparsity: Sparsity in the unit that the budget counts in.
        macs: Multiply-accumulates for one sample.
    """

    retained: float
    sparsity: float
    sparsity_macs: float
    budget: float
    budget_sparsity: float
    macs: float

    def asdict(self) -> dict[str, float]:
        """The terms by name."""
        return asdict(self)


Objective = Callable[[Terms], float]


def area() -> Objective:
    """Phi = R * sparsity: the area that a point dominates in the compression/score plane."""
    return lambda terms: terms.retained * terms.sparsity


def budget() -> Objective:
    """Phi = R * min(1, sparsity / budget): R, once the budget is met; an untouched network earns nothing."""
    return lambda terms: terms.retained * (min(1.0, terms.budget_sparsity / terms.budget) if terms.budget else 1.0)


def floor(retained: float = 0.9) -> Objective:
    """Phi = sparsity while R >= `retained`, and the (negative) shortfall of R below it otherwise."""
    return lambda terms: terms.sparsity if terms.retained >= retained else terms.retained - retained


def weighted(**weights: float) -> Objective:
    """Phi = sum of weight * term, over any of the named terms.

    Raises:
        ValueError: If a weight names no term.
    """
    weights = weights or {"retained": 1.0, "sparsity": 1.0}
    unknown = set(weights) - set(Terms.__dataclass_fields__)
    if unknown:
        raise ValueError(
            f"unknown reward terms {sorted(unknown)}; known terms: {', '.join(Terms.__dataclass_fields__)}"
        )
    return lambda terms: sum(weight * getattr(terms, name) for name, weight in weights.items())


def amc() -> Objective:
    """Phi = -(1 - R) * log(MACs), the reward of AMC with 1 - R as the error (He et al. 2018, arXiv 1802.03494)."""
    return lambda terms: -(1.0 - terms.retained) * math.log(max(terms.macs, 1.0))


OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "area": area,
    "budget": budget,
    "floor": floor,
    "weighted": weighted,
    "amc": amc,
}
VECTOR = "vector"
VECTOR_TERMS = ("retained", "sparsity")


def make_objective(name: str, options: Mapping[str, float] | None = None) -> Callable[[Terms], float | np.ndarray]:
    """The potential by name; `"vector"` gives an array [2] of R and sparsity for multi-objective learners.

    Raises:
        ValueError: If the name is unknown (the known ones are listed) or an option does not fit.
    """
    if name == VECTOR:
        return lambda terms: np.array([getattr(terms, term) for term in VECTOR_TERMS])
    if name not in OBJECTIVES:
        raise ValueError(f"unknown objective {name!r}; known objectives: {', '.join([*OBJECTIVES, VECTOR])}")
    try:
        return OBJECTIVES[name](**(options or {}))
    except TypeError as error:
        raise ValueError(f"objective {name!r} does not take the options {dict(options or {})}: {error}") from error
