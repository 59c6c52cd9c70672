"""How the learned policies of a run were trained: kept beside its records, so that its report needs no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from prune_env.storage import DamagedFileError, config_hash, read_sealed, write_sealed
from prune_env.validation import Range, check_value

FILE_NAME = "agents.json"


@dataclass(frozen=True, kw_only=True)
class AgentTraining:
    """What made a learned policy, and its learning curve. E evaluations of M episodes each.

    Attributes:
        algorithm: Name of the algorithm.
        env: Id of the environment that it was trained in.
        env_options: Arguments of that environment.
        hyperparameters: Arguments of the algorithm.
        seed: Of the agent.
        cuts: Networks cut in training, in all environments together [rounds].
        seconds: Duration of the training, over all resumed runs [s]; None if it is not known.
        evaluated_at: Cuts before each evaluation, [E].
        returns: Returns of the episodes of each evaluation, [E][M].
    """

    algorithm: str
    env: str
    env_options: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int
    cuts: int
    seconds: float | None = None
    evaluated_at: Sequence[int] = ()
    returns: Sequence[Sequence[float]] = ()

    def __post_init__(self) -> None:
        check_value("algorithm", self.algorithm, str)
        check_value("env", self.env, str)
        check_value("seed", self.seed, int)
        check_value("cuts", self.cuts, int, Range(0))
        if self.seconds is not None:
            check_value("seconds", self.seconds, float, Range(0))
        for name in ("env_options", "hyperparameters"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name} must be a dict, got {getattr(self, name)!r}")
        if len(self.evaluated_at) != len(self.returns) or not all(map(len, self.returns)):
            raise ValueError("every evaluation of a learning curve needs its number of cuts and at least one return")
        for cuts, returns in zip(self.evaluated_at, self.returns, strict=True):
            check_value("evaluated_at", cuts, int, Range(0))
            for value in returns:
                check_value("returns", value, float)

    @property
    def agent(self) -> str:
        """Hash of what the policy was trained with, its seed left out."""
        parts = (self.algorithm, self.env, dict(self.env_options), dict(self.hyperparameters), self.cuts)
        return config_hash(parts)


Trainings = Mapping[str, Sequence[AgentTraining]]
"""Label of an agent -> the training of each of its seeds."""


def add_trainings(folder: Path, trainings: Mapping[str, AgentTraining]) -> None:
    """Keep how policies were trained, by the policy's name in the records, beside what is known of others.

    Raises:
        DamagedFileError: If the file that is there is damaged.
    """
    if trainings:
        known = {**read_trainings(folder), **trainings}
        write_sealed(folder / FILE_NAME, {"agents": {name: asdict(training) for name, training in known.items()}})


def read_trainings(folder: Path) -> dict[str, AgentTraining]:
    """How policies were trained, by their name in the records; empty where nothing is known.

    Raises:
        DamagedFileError: If the file is damaged.
    """
    path, remedy = folder / FILE_NAME, "delete it, and run the same benchmark again, which repeats no cut"
    if not path.is_file():
        return {}
    try:
        return {name: AgentTraining(**known) for name, known in read_sealed(path, remedy)["agents"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedFileError(f"{path} is damaged ({error}); {remedy}") from error
