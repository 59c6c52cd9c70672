"""What an episode is worth: named terms, and objectives that turn them into a potential; its increments are rewards."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from prune_env.envs.costs import sparsity_name
from prune_env.open_sets import add, find, unknown


@dataclass(frozen=True)
class Terms:
    """What is known of the pruned network after a round; all of it is always in `info["reward_terms"]`.

    Attributes:
        retained: R = (score - floor) / (dense - floor) on validation data; -1 if the network collapsed.
        costs: Cost by name, e.g. parameters, macs.
        sparsities: Share of each cost that is removed, by the cost's name.
        budget: Sparsity to end at; 0 without a budget.
        budget_unit: Name of the cost that the budget counts.
    """

    retained: float
    costs: Mapping[str, float]
    sparsities: Mapping[str, float]
    budget: float
    budget_unit: str

    @property
    def sparsity(self) -> float:
        """Share of the parameters removed."""
        return self.sparsities["parameters"]

    @property
    def budget_sparsity(self) -> float:
        """Sparsity in the unit of the budget."""
        return self.sparsities[self.budget_unit]

    def asdict(self) -> dict[str, float]:
        """The terms as numbers by name: retained, sparsity, sparsity_macs, budget, budget_sparsity, macs, ..."""
        return {
            "retained": self.retained,
            **{sparsity_name(name): value for name, value in self.sparsities.items()},
            "budget": self.budget,
            "budget_sparsity": self.budget_sparsity,
            **{name: value for name, value in self.costs.items() if name != "parameters"},
        }


def untouched_terms(costs: Iterable[str], budget_unit: str) -> Terms:
    """The terms of a dense network whose costs are all 1, without a budget."""
    costs = list(costs)
    return Terms(1.0, dict.fromkeys(costs, 1.0), dict.fromkeys(costs, 0.0), 0.0, budget_unit)


Objective = Callable[[Terms], Any]
"""The potential Phi: a number, or an array for multi-objective learners."""


def area() -> Objective:
    """Phi = R * sparsity: the area that a point dominates in the plane of compression and score."""
    return lambda terms: terms.retained * terms.sparsity


def budget() -> Objective:
    """Phi = R * min(1, sparsity / budget): R, once the budget is met; an untouched network earns nothing."""
    return lambda terms: terms.retained * (min(1.0, terms.budget_sparsity / terms.budget) if terms.budget else 1.0)


def floor(retained: float = 0.9) -> Objective:
    """Phi = sparsity while R >= `retained`, and the (negative) shortfall of R below it otherwise.

    Raises:
        ValueError: If `retained` is not a number in (-1, 1].
    """
    if not (_is_number(retained) and -1 < retained <= 1):
        raise ValueError(f"retained of the objective 'floor' must be a number in (-1, 1], got {retained!r}")
    return lambda terms: terms.sparsity if terms.retained >= retained else terms.retained - retained


def keep(retained: float = 0.95, penalty: float = 10.0) -> Objective:
    """Phi = sparsity - `penalty` * max(0, `retained` - R): the largest sparsity at which R is kept, continuous in R.

    The exact penalty function of that problem, in the unit of the budget: a shortfall of 0.01 costs as much as
    0.01 * `penalty` of sparsity earns. `prune_env.prune(keep=...)` bisects for it instead.

    Raises:
        ValueError: If `retained` is not a number in (-1, 1], or `penalty` not a positive one.
    """
    if not (_is_number(retained) and -1 < retained <= 1):
        raise ValueError(f"retained of the objective 'keep' must be a number in (-1, 1], got {retained!r}")
    if not (_is_number(penalty) and penalty > 0):
        raise ValueError(f"penalty of the objective 'keep' must be a positive number, got {penalty!r}")
    return lambda terms: terms.budget_sparsity - penalty * max(0.0, retained - terms.retained)


def weighted(**weights: float) -> Objective:
    """Phi = sum of weight * term, over any of the named terms; by default retained + sparsity.

    Raises:
        ValueError: If a weight is not a finite number, or, at the first use, names no term.
    """
    weights = weights or {"retained": 1.0, "sparsity": 1.0}
    if wrong := {name: weight for name, weight in weights.items() if not _is_number(weight)}:
        raise ValueError(f"weights of the objective 'weighted' must be finite numbers, got {wrong}")

    def potential(terms: Terms) -> float:
        known = terms.asdict()
        if missing := [name for name in weights if name not in known]:
            raise ValueError(unknown("reward term", missing[0], known))
        return sum(weight * known[name] for name, weight in weights.items())

    return potential


def amc() -> Objective:
    """Phi = -(1 - R) * log(MACs), the reward of AMC with 1 - R as the error (He et al. 2018, arXiv 1802.03494)."""
    return lambda terms: -(1.0 - terms.retained) * math.log(max(terms.costs["macs"], 1.0))


def vector() -> Objective:
    """Phi = the array (R, sparsity), for multi-objective learners; see `reward_space`."""
    return lambda terms: np.array([terms.retained, terms.sparsity])


OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "area": area,
    "budget": budget,
    "floor": floor,
    "keep": keep,
    "weighted": weighted,
    "amc": amc,
    "vector": vector,
}


def register_objective(name: str, objective: Callable[..., Objective]) -> None:
    """Make an objective known under a name; `objective(**options)` returns the potential.

    Raises:
        ValueError: If the name is taken.
    """
    add("objective", name, objective, OBJECTIVES)


def make_objective(name: str, options: Mapping[str, float] | None = None) -> Objective:
    """The potential by name.

    Raises:
        ValueError: If the name is unknown (the known ones are listed) or an option does not fit.
    """
    make = find("objective", name, OBJECTIVES)
    try:
        return make(**(options or {}))
    except TypeError as error:
        raise ValueError(f"objective {name!r} does not take the options {dict(options or {})}: {error}") from error


def check_potential(potential: Any, name: str, terms: Terms) -> Any:
    """The potential as a float or an array, if rewards can be made of it.

    Raises:
        ValueError: If it is not a finite number or an array of them; the objective and the terms are named.
    """
    try:
        array = np.asarray(potential, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array(math.nan)
    if array.ndim > 1 or not np.isfinite(array).all():
        raise ValueError(
            f"objective {name!r} gives {potential!r} for {terms.asdict()}: it must give a finite number, or a vector "
            "of them; change its options, or register another one"
        )
    return array if array.ndim else float(array)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
