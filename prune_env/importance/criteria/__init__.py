"""Channel criteria, an open set: a number for each channel, which says what goes first within a group (the lowest).

Nothing is normalised: numbers of different groups compare as they are. A new one is a subclass of `Criterion` and an
entry of `CRITERIA` (or a call of `register_criterion`); where it is a dataclass, its fields are options that can be
given by name, as in `hessian:probes=16`.
"""

from prune_env.importance.criteria.activation import (
    Activation,
    ActivationVariance,
    Discrimination,
    PercentageOfZeros,
    Wanda,
)
from prune_env.importance.criteria.base import CALIBRATION_BATCHES, Criterion, CriterionContext, Random
from prune_env.importance.criteria.hessian import Hessian
from prune_env.importance.criteria.reconstruction import Lasso, ThiNet
from prune_env.importance.criteria.tracked import Tracked
from prune_env.importance.criteria.weights import BatchNormScale, GeometricMedian, Norm, scales_of
from prune_env.importance.measures import MEASURES
from prune_env.open_sets import add, find

__all__ = [
    "CALIBRATION_BATCHES",
    "CRITERIA",
    "Criterion",
    "CriterionContext",
    "Tracked",
    "register_criterion",
    "scales_of",
]

CRITERIA: dict[str, Criterion] = {
    "l1": Norm(1),
    "l2": Norm(2),
    "gradient": Tracked("gradient"),
    "fisher": Tracked("fisher"),
    "fisher_weight": Tracked("fisher_weight"),
    "taylor": Tracked("taylor"),
    "movement": Tracked("movement"),
    "hessian": Hessian(),
    "activation": Activation(),
    "activation_variance": ActivationVariance(),
    "apoz": PercentageOfZeros(),
    "wanda": Wanda(),
    "discrimination": Discrimination(),
    "thinet": ThiNet(),
    "lasso": Lasso(),
    "bn_scale": BatchNormScale(),
    "geometric_median": GeometricMedian(),
    "random": Random(),
}
"""Name -> criterion."""


def register_criterion(name: str, criterion: Criterion) -> None:
    """Make a criterion known by name.

    Raises:
        ValueError: If the name is taken by another criterion, or the criterion reads an unknown measure.
    """
    for measure in criterion.measures:
        find("measure", measure, MEASURES)
    add("criterion", name, criterion, CRITERIA)
