"""One record of a benchmark: a `Result`, or a `Failure` of a policy that raised; every field is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from prune_env.envs.costs import sparsity_name
from prune_env.validation import Range, check_value

COLLAPSED_RETAINED = -1.0
"""The retained score that is written, by convention, for a network that collapsed (with `collapsed=True`)."""

Kind = Literal["agent", "plain", "privileged"]

_RETAINED = Range(COLLAPSED_RETAINED, 1e6, "[]")  # a dense network that is hardly better than its floor can be outdone
_SHARE = Range(0, 1, "[]")
_SPARSITY = Range(-1e6, 1, "[]")  # a cost that is measured, such as latency, may also grow


class Key(NamedTuple):
    """The identity of a record."""

    policy: str
    network: str
    budget: float
    seed: int
    config_hash: str
    dense: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What results and failures have in common.

    Attributes:
        policy: Name of the policy; for a saved one, of its folder.
        env: Id of the environment.
        network: Which dense network was pruned, for example "latent_dim=6, seed=10003".
        stratum: The kind of network; runs are resampled within it.
        budget: The sparsity asked for, between 0 and 1.
        budget_unit: Name of the cost that the budget counts.
        seed: Evaluation seed.
        config_hash: Hash of everything else that shapes the numbers; different hashes are never mixed.
        dense: What tells the dense network from one of the same name that was made otherwise; they are never mixed.
        privileged: Whether the policy saw more than the observation.
        learned: Whether the policy was trained.
        agent: What it was trained with, as a hash that leaves its seed out: policies that share it are one agent,
            trained with several seeds. Empty where there is nothing known of the training.
        versions: Package name to version.
        hardware: The machine, in words.
    """

    policy: str
    env: str
    network: str
    stratum: str
    budget: float
    budget_unit: str = "parameters"
    seed: int
    config_hash: str
    dense: str = ""
    privileged: bool = False
    learned: bool = False
    agent: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: str = ""

    def __post_init__(self) -> None:
        for name in ("policy", "env", "network", "stratum", "budget_unit", "config_hash", "dense", "agent", "hardware"):
            check_value(name, getattr(self, name), str)
        check_value("budget", self.budget, float, Range(0, 1, "()"))
        check_value("seed", self.seed, int, Range(0))
        check_value("privileged", self.privileged, bool)
        check_value("learned", self.learned, bool)
        for name, version in _items("versions", self.versions):
            check_value(f"versions[{name!r}]", version, str)

    @property
    def key(self) -> Key:
        """The identity of this record."""
        return Key(self.policy, self.network, self.budget, self.seed, self.config_hash, self.dense)

    @property
    def kind(self) -> Kind:
        """How the policy competes: as a learned agent, a plain heuristic, or with privileged information."""
        if self.privileged:
            return "privileged"
        return "agent" if self.learned else "plain"


@dataclass(frozen=True, kw_only=True)
class Result(Record):
    """One network, pruned to one budget by one policy.

    Attributes:
        retained: R = (score - floor) / (dense - floor) on validation data; -1 for a collapsed network.
        retained_test: The same on test data; the number that is reported.
        score_test: The target's own score on test data; None where a collapse left none.
        sparsities: Share of each registered cost that was removed, by the cost's name; `info["sparsities"]`.
        collapsed: Whether the network diverged or fell below its floor while being pruned.
        trial_cuts: Pruned networks that the policy had scored before it answered.
        trial_steps: Training steps in these trials.
        best_trials: Anytime curve: number of a trial, and its retained score on validation data, wherever one was the
            best so far, among those that train as long as a round and meet the budget; of the last round with trials.
        ratios: Group name to the share of its dense channels that was removed.
        wall_s: Duration [s].
    """

    retained: float
    retained_test: float
    score_test: float | None
    sparsities: Mapping[str, float]
    collapsed: bool
    trial_cuts: int
    ratios: Mapping[str, float]
    wall_s: float
    trial_steps: int = 0
    best_trials: Sequence[tuple[int, float]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_value("retained", self.retained, float, _RETAINED)
        check_value("retained_test", self.retained_test, float, _RETAINED)
        if self.score_test is not None:
            check_value("score_test", self.score_test, float)
        check_value("collapsed", self.collapsed, bool)
        check_value("trial_cuts", self.trial_cuts, int, Range(0))
        check_value("wall_s", self.wall_s, float, Range(0))
        check_value("trial_steps", self.trial_steps, int, Range(0))
        _check_best_trials(self.best_trials, self.trial_cuts)
        object.__setattr__(self, "best_trials", tuple((number, score) for number, score in self.best_trials))
        for name, value in _items("sparsities", self.sparsities):
            check_value(f"sparsities[{name!r}]", value, float, _SPARSITY)
        for name, value in _items("ratios", self.ratios):
            check_value(f"ratios[{name!r}]", value, float, _SHARE)
        if self.budget_unit not in self.sparsities:
            raise ValueError(f"sparsities must name the cost {self.budget_unit!r} that the budget counts")

    @property
    def budget_sparsity(self) -> float:
        """Share that was removed of the cost that the budget counts."""
        return self.sparsities[self.budget_unit]

    def numbers(self) -> dict[str, float | None]:
        """Everything that can be averaged, by name; a sparsity's name is that of `info["reward_terms"]`."""
        return {
            "retained": self.retained,
            "retained_test": self.retained_test,
            "score_test": self.score_test,
            **{sparsity_name(cost): value for cost, value in self.sparsities.items()},
            "budget_sparsity": self.budget_sparsity,
            "collapsed": float(self.collapsed),
            "trial_cuts": self.trial_cuts,
            "trial_steps": self.trial_steps,
            "wall_s": self.wall_s,
        }


@dataclass(frozen=True, kw_only=True)
class Failure(Record):
    """A policy that raised an error on one network and budget; tried again when the run is resumed.

    Attributes:
        error: Type and message of the exception.
        traceback: Its traceback, in lines.
    """

    error: str
    traceback: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_value("error", self.error, str)
        check_value("traceback", self.traceback, str)


def _items(name: str, value: object) -> list[tuple[str, object]]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{name} must be a dict with names as keys, got {value!r}")
    return list(value.items())


def _check_best_trials(best: object, most: int) -> None:
    """Whether it is pairs of a trial's number and its score, both ascending."""
    pairs = isinstance(best, Sequence) and all(isinstance(pair, Sequence) and len(pair) == 2 for pair in best)
    if not pairs:
        raise ValueError(f"best_trials must be pairs of a trial's number and its score, got {best!r}")
    last, score = 0, -float("inf")
    for number, retained in best:  # type: ignore[attr-defined]
        check_value("the number of a trial in best_trials", number, int, Range(last + 1, most, "[]"))
        check_value("a score in best_trials", retained, float, _RETAINED)
        if retained <= score:
            raise ValueError(f"scores in best_trials must ascend, got {best!r}")
        last, score = number, retained
