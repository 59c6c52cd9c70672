"""One frozen dataclass for all arguments of the environment, validated where it is made."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from prune_env.dense import HELD_OUT_SEEDS, Network, PoolKind
from prune_env.envs.costs import COSTS, MEASURED_COSTS, CostFunction, sparsity_name
from prune_env.envs.objectives import OBJECTIVES, check_potential, make_objective, untouched_terms
from prune_env.envs.observation import BAYES_COLUMNS, Column, columns_of
from prune_env.envs.schedules import SCHEDULES
from prune_env.fine_tuning import FINE_TUNINGS
from prune_env.importance import CRITERIA, MEASURES, PAPER_MEASURES, ImportanceConfig, RegularizerConfig
from prune_env.open_sets import UnknownOptionError, configured, find
from prune_env.repair import REPAIRS
from prune_env.targets import PoolSplit, Target, make_target
from prune_env.validation import Range, check_device, check_value

Budget = float | Sequence[float] | None


@dataclass(frozen=True, kw_only=True)
class PruningConfig:
    """Everything that decides what `PruningEnv` is.

    Args:
        target: Name of a registered target.
        target_options: Options of the target. `PruningEnv` also takes them as keywords (`latent_dim=16`).
        rounds: Rounds of an episode; 1 prunes once, more keep training in between.
        steps_per_round: Training steps after each cut [steps].
        schedule: How the sparsity approaches the budget over the rounds: "geometric", "linear", "cubic" or "one-shot".
        max_ratio: Upper bound of the action, in (0, 1).
        budget: Sparsity to end at, in (0, 1): a number, a pair (low, high) to draw from uniformly at each reset, a
            longer sequence to choose from, or None to leave the depth to the agent.
        budget_unit: What the budget counts, a name of `COSTS` or `MEASURED_COSTS`: "parameters", "macs", "latency", ...
        objective: Name of the objective; by default "budget" with a budget and "area" without.
        objective_options: Its options, e.g. the weights of "weighted".
        observation: "full", "importance", or a tuple of names of columns, measures, criteria and of these two.
        bayes: The Bayes column of "full" and "importance": the paper's "literal" formula, or the "corrected" one.
        criterion: Which channels of a group go first, a name of `CRITERIA`, options behind it ("hessian:probes=16").
        repair: Post-pruning repair, a name of `REPAIRS`, options behind it: "batchnorm" recalibrates running
            statistics, "mean" moves the mean of removed channels into the biases of their readers, "ridge" fits the
            readers anew, "none" does nothing; by default what suits the target.
        fine_tuning: How the network trains after a cut, a name of `FINE_TUNINGS`, options behind it: "plain",
            "distillation" from the dense network, "rewind" to an early checkpoint, or from "scratch".
        learning_rate_factor: Factor of the learning rate during the training of an episode.
        stop_on_collapse: Whether an episode ends when the network is worse than the floor (R < 0). A network whose loss
            or score is not finite always ends it.
        protect: Components and groups, by name, that are never cut.
        component_weights: How much more than others a component matters, by name; with weight 2 a group loses channels
            half as fast: the share kept is (1 - ratio)^(1/2). A coupling group has its components' largest weight.
        min_channels: Channels that every group keeps.
        round_to: Widths that shrink are multiples of this, at least one multiple; a group that is narrower keeps its
            width, and one whose width is no multiple keeps it or shrinks to one.
        pool: Number of dense networks that episodes start from.
        pool_kind: How the networks of the pool differ: in their seed and the target's few "variants", or "drawn", each
            with widths, data and training of its own, if the target draws them.
        split: "train" or "held_out".
        scope: `ImportanceConfig.scope`: importance is measured on "root" layers, or on every slice of a "group".
        ema_decay: `ImportanceConfig.ema_decay`, of the moving averages of importance.
        kappa: `ImportanceConfig.kappa`, of the Bayes measure.
        eta: `ImportanceConfig.eta`, of the Bayes measure.
        l1: `RegularizerConfig.enabled`: whether the cosine-L1 term is part of the training loss.
        l1_base: `RegularizerConfig.base`, l_base.
        l1_low: `RegularizerConfig.low`, l_min / l_base.
        l1_high: `RegularizerConfig.high`, l_max / l_base.
        l1_period: `RegularizerConfig.period`, T [epochs].
        lambda_weight: `RegularizerConfig.weight`, "constant" or "ramp".
        lambda_ramp: `RegularizerConfig.ramp`, length of the ramp [epochs].
        l1_scales: `RegularizerConfig.scales`, strength of L1 on the scales of normalisation layers.
        device: Where networks are trained, measured, cut and scored, as torch writes it ("cuda"). Equal seeds give
            equal trajectories, bit for bit, on the CPU.

    Raises:
        ValueError: If a field is unknown or out of range; the message says what is allowed.
    """

    target: str
    target_options: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 4
    steps_per_round: int = 30
    schedule: str = "geometric"
    max_ratio: float = 0.95
    budget: Budget = None
    budget_unit: str = "parameters"
    objective: str | None = None
    objective_options: Mapping[str, float] | None = None
    observation: str | Sequence[str] = "full"
    bayes: str = "literal"
    criterion: str = "fisher_weight"
    repair: str | None = None
    fine_tuning: str = "plain"
    learning_rate_factor: float = 1.0
    stop_on_collapse: bool = True
    protect: Sequence[str] = ()
    component_weights: Mapping[str, float] | None = None
    min_channels: int = 1
    round_to: int = 1
    pool: int = 1
    pool_kind: PoolKind = "variants"
    split: PoolSplit = "train"
    scope: str = ImportanceConfig.scope
    ema_decay: float = ImportanceConfig.ema_decay
    kappa: float = ImportanceConfig.kappa
    eta: float = ImportanceConfig.eta
    l1: bool = RegularizerConfig.enabled
    l1_base: float = RegularizerConfig.base
    l1_low: float = RegularizerConfig.low
    l1_high: float = RegularizerConfig.high
    l1_period: float = RegularizerConfig.period
    lambda_weight: str = RegularizerConfig.weight
    lambda_ramp: float = RegularizerConfig.ramp
    l1_scales: float = RegularizerConfig.scales
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("rounds", "min_channels", "round_to"):
            check_value(name, getattr(self, name), int, Range(1, _MOST))
        check_value("pool", self.pool, int, Range(1, HELD_OUT_SEEDS, "[]"))
        check_value("steps_per_round", self.steps_per_round, int, Range(0, _MOST))
        check_value("max_ratio", self.max_ratio, float, Range(0, 1, "()"))
        check_value("learning_rate_factor", self.learning_rate_factor, float, Range(0))
        check_value("stop_on_collapse", self.stop_on_collapse, bool)
        check_value("split", self.split, str, ("train", "held_out"))
        check_value("pool_kind", self.pool_kind, str, ("variants", "drawn"))
        check_value("bayes", self.bayes, str, tuple(BAYES_COLUMNS))
        _ = self.importance, self.regularizer  # they check their own ranges
        check_device(self.device)
        for kind, known in _NAMES.items():
            if (name := getattr(self, kind)) is not None or kind not in _DEFAULT_BY_NONE:
                configured(kind, name, known)
        _check_mapping("target_options", self.target_options)
        for name in ("component_weights", "objective_options"):
            if getattr(self, name) is not None:
                _check_mapping(name, getattr(self, name))
        for name, weight in (self.component_weights or {}).items():
            check_value(f"component_weights[{name!r}]", weight, float, Range(0, ends="()"))
        _check_strings("protect", self.protect)
        if not isinstance(self.observation, str):
            _check_strings("observation", self.observation)
        budgets_of(self.budget)
        if self.objective == "budget" and self.budget is None:
            raise ValueError("objective 'budget' needs a budget, e.g. budget=0.7")
        untouched = untouched_terms(self.costs, self.budget_unit)
        potential = make_objective(self.objective_name, self.objective_options)
        check_potential(potential(untouched), self.objective_name, untouched)
        _ = self.columns

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns of the observation."""
        return columns_of(self.observation, self.bayes)

    @property
    def measures(self) -> tuple[str, ...]:
        """Measures that are shown: those among the columns, or the paper's where there are none."""
        return tuple(column.name for column in self.columns if column.name in MEASURES) or PAPER_MEASURES

    @property
    def importance(self) -> ImportanceConfig:
        """Constants of importance."""
        return ImportanceConfig(self.scope, self.ema_decay, self.kappa, self.eta)

    @property
    def regularizer(self) -> RegularizerConfig:
        """The cosine-L1 term."""
        try:
            return RegularizerConfig(
                self.l1, self.l1_base, self.l1_low, self.l1_high, self.l1_period, self.lambda_weight, self.lambda_ramp,
                self.l1_scales,
            )  # fmt: skip
        except ValueError as error:
            raise ValueError(
                f"l1, l1_base, l1_low, l1_high, l1_period, lambda_weight, lambda_ramp, l1_scales: {error}"
            ) from error

    @property
    def costs(self) -> dict[str, Callable[[Network], CostFunction]]:
        """Costs that are known in an episode: all that are counted, and the measured ones that are asked for."""
        asked = {self.budget_unit, *(self.objective_options or {})}
        measured = {n: cost for n, cost in MEASURED_COSTS.items() if asked & {n, sparsity_name(n)}}
        return COSTS | measured

    @property
    def objective_name(self) -> str:
        """The objective, or the default one that goes with the budget."""
        return self.objective or ("area" if self.budget is None else "budget")


def _check_mapping(name: str, given: Any) -> None:
    if not (isinstance(given, Mapping) and all(isinstance(key, str) for key in given)):
        raise ValueError(f"{name} must be a dict with names as keys, got {given!r}")


def _check_strings(name: str, values: Any) -> None:
    sequence = isinstance(values, Sequence) and not isinstance(values, (str, bytes))
    if not sequence or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name} must be a sequence of names, got {values!r}")


_MOST = 2**31
_DEFAULT_BY_NONE = ("objective", "repair")
_NAMES: dict[str, Mapping[str, Any]] = {
    "schedule": SCHEDULES,
    "budget_unit": ChainMap(COSTS, MEASURED_COSTS),
    "objective": OBJECTIVES,
    "criterion": CRITERIA,
    "repair": REPAIRS,
    "fine_tuning": FINE_TUNINGS,
}

FIELDS = tuple(f.name for f in fields(PruningConfig))
"""Names of all fields."""

EPISODE_FIELDS = (
    *(
        "rounds",
        "steps_per_round",
        "schedule",
        "budget",
        "budget_unit",
        "criterion",
        "repair",
        "fine_tuning",
        "learning_rate_factor",
    ),
    *("stop_on_collapse", "component_weights", "min_channels", "round_to"),
)
"""Fields that `reset(options={...})` may replace for one episode: those that change neither spaces nor networks."""


OF_THE_NETWORK = (
    *("target", "target_options", "protect", "pool", "split", "device", "scope", "ema_decay", "kappa", "eta"),
    *("l1", "l1_base", "l1_low", "l1_high", "l1_period", "lambda_weight", "lambda_ramp"),
)
"""Fields that say which networks there are; networks that are handed in are what they are."""


def config_for(network: Network, arguments: Mapping[str, Any]) -> PruningConfig:
    """The configuration for networks that are handed in, from fields as keywords.

    Raises:
        UnknownOptionError: If a keyword is no field, or one that the network decides.
        ValueError: If a value does not fit.
    """
    target, tracker = network.train_state.target, network.train_state.tracker
    known = [name for name in FIELDS if name not in OF_THE_NETWORK]
    if wrong := [name for name in arguments if name not in known]:
        raise UnknownOptionError.of("PruningEnv with networks that are handed in", wrong[0], known)
    measured, l1 = tracker.config, network.train_state.regularizer.config
    made = PruningConfig(
        target=network.label,
        device=str(target.device),
        **asdict(measured),
        l1=l1.enabled, l1_base=l1.base, l1_low=l1.low, l1_high=l1.high, l1_period=l1.period,
        lambda_weight=l1.weight, lambda_ramp=l1.ramp,
        **arguments,
    )  # fmt: skip
    check_names(made, target)
    return made


def make_config(config: PruningConfig | str | None, arguments: Mapping[str, Any]) -> PruningConfig:
    """A configuration from a configuration or a target's name, and keywords: fields, and options of the target.

    Raises:
        UnknownOptionError: If a keyword is neither a field nor an option of the target; a TypeError and a ValueError.
        ValueError: If a value does not fit.
    """
    given = {name: value for name, value in arguments.items() if name in FIELDS}
    options = {name: value for name, value in arguments.items() if name not in FIELDS}
    if isinstance(config, str):
        given["target"] = config
    base = config if isinstance(config, PruningConfig) else None
    if base is None and "target" not in given:
        raise TypeError("PruningEnv needs a target, e.g. PruningEnv(target='autoencoder')")
    _check_mapping("target_options", given.get("target_options", {}))
    stored = {**(base.target_options if base else {}), **given.get("target_options", {}), **options}
    given["target_options"] = stored
    made = replace(base, **given) if base else PruningConfig(**given)
    try:
        check_names(made, make_target(made.target, **stored))
    except UnknownOptionError as error:
        if error.name in options:
            # Python's own words: by them torchrl tells a keyword that it may leave out.
            owner = f"PruningEnv() got an unexpected keyword argument {error.name!r} (target {made.target!r})"
            raise UnknownOptionError.of(owner, error.name, [*FIELDS, *error.known]) from None
        raise
    return made


def check_names(config: PruningConfig, target: Target) -> None:
    """Whether the target has what the configuration names: components, and what its criterion needs.

    Raises:
        ValueError: If it has not; the components are listed.
    """
    for name in config.component_weights or {}:
        find("component in component_weights", name, dict.fromkeys(target.components))
    configured("criterion", config.criterion, CRITERIA).check(target)


def budgets_of(budget: Budget) -> np.ndarray | None:
    """The numbers of a budget, float64 [n]: one, the ends of a range, or a choice; None without a budget.

    Raises:
        ValueError: If it is none of these.
    """
    if budget is None:
        return None
    wrong = f"a budget is a sparsity in (0, 1), a pair (low, high) or a sequence of them; got {budget!r}"
    try:
        values = np.atleast_1d(np.asarray(budget))
    except (TypeError, ValueError):
        raise ValueError(wrong) from None
    if values.dtype.kind not in "iuf":
        raise ValueError(wrong)
    values = values.astype(np.float64)
    if values.ndim != 1 or not len(values) or not ((values > 0) & (values < 1)).all():
        raise ValueError(wrong)
    if len(values) == 2 and values[0] > values[1]:
        raise ValueError(f"a budget range goes from low to high; got {budget!r}")
    return values


def draw_budget(values: np.ndarray | None, random: np.random.Generator) -> float | None:
    """The sparsity that one episode ends at, drawn from what `budgets_of` returns."""
    if values is None:
        return None
    return float(random.uniform(*values)) if len(values) == 2 else float(random.choice(values))
