"""Trials of an Optuna study: where they are kept, and how several processes share them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prune_env.storage import expanded

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

_WORKER = "worker"  # attribute of a trial: the machine and process that run it
_CONFIG = "config"  # attribute of a study


def _median(timesteps: int, eval_every: int) -> BasePruner:
    """Stop a trial that is below the median of the earlier ones, from a quarter of its rounds on."""
    from optuna.pruners import MedianPruner

    return MedianPruner(n_startup_trials=5, n_warmup_steps=timesteps // 4)


def _halving(timesteps: int, eval_every: int) -> BasePruner:
    """Successive halving: one trial in three goes on at each rung, three times as long (arXiv 1810.05934)."""
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(min_resource=eval_every, reduction_factor=3)


def _none(timesteps: int, eval_every: int) -> BasePruner:
    """Train every trial to its end."""
    from optuna.pruners import NopPruner

    return NopPruner()


PRUNERS: dict[str, Callable[[int, int], BasePruner]] = {"median": _median, "halving": _halving, "none": _none}
"""Name -> from rounds of a trial, and rounds between its evaluations, to Optuna's pruner."""


def open_study(storage: str | Path, name: str, pruner: BasePruner, config: Mapping[str, Any]) -> Study:
    """Open a study in a storage, or begin it there.

    Args:
        storage: A database as SQLAlchemy names it, such as sqlite:///tune.db, or the path of a journal file.
        name: Of the study.
        pruner: Optuna's pruner.
        config: What a trial is, JSON; kept with the study.

    Raises:
        ImportError: If the driver of the database is not installed.
        ValueError: If the storage cannot be opened, or holds a study of that name with another configuration.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            storage=_open_storage(storage), study_name=name, pruner=pruner, direction="maximize", load_if_exists=True
        )
        held = study.user_attrs.get(_CONFIG)
        if held is None:
            study.set_user_attr(_CONFIG, dict(config))
    except ImportError as error:
        raise ImportError(f"the storage {str(storage)!r} needs a driver that is not installed ({error})") from error
    except Exception as error:  # of SQLAlchemy, of its drivers, of JSON, of the file system
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"cannot open the storage {str(storage)!r} ({type(error).__name__}: {reason}); give sqlite:///FILE, "
            "another database, or the path of a journal file"
        ) from error
    if held is not None and held != config:
        differing = ", ".join(
            f"{part} is {held.get(part)} there, {config.get(part)} here"
            for part in dict.fromkeys([*held, *config])
            if held.get(part) != config.get(part)
        )
        raise ValueError(
            f"the study {name!r} in {storage} has another configuration: {differing}; choose another study or storage"
        )
    return study


def _open_storage(storage: str | Path) -> BaseStorage:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if "://" in str(storage):
        return RDBStorage(str(storage))
    path = expanded(storage)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        with path.open("rb") as file:  # Optuna would append to any file
            if (first := file.readline()) and "op_code" not in json.loads(first):
                raise ValueError("it is no journal of Optuna")
    return JournalStorage(JournalFileBackend(str(path)))


def ask(study: Study, trials: int, seed: int) -> Trial | None:
    """The next trial, drawn by its number and the seed; None if the study has as many as it should.

    Args:
        study: The study.
        trials: Trials that it should have: finished, pruned or running, in whatever process.
        seed: Of the draws.
    """
    from optuna.samplers import TPESampler

    _fail_orphans(study)
    if len(_counted(study)) >= trials:
        return None
    trial = study.ask()
    trial.set_user_attr(_WORKER, _this_worker())
    if sum(other.number < trial.number for other in _counted(study)) >= trials:  # others asked at the same time
        give_back(study, trial)
        return None
    draw = np.random.SeedSequence([seed, trial.number]).generate_state(1)[0]
    study.sampler = TPESampler(seed=int(draw), multivariate=False)  # Optuna draws when a hyperparameter is asked for
    return trial


def give_back(study: Study, trial: Trial | FrozenTrial) -> None:
    """End a trial that was interrupted; its hyperparameters are tried again by whoever asks next."""
    from optuna.trial import TrialState

    study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    if trial.params:
        study.enqueue_trial(trial.params)


def _counted(study: Study) -> list[FrozenTrial]:
    from optuna.trial import TrialState

    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    return study.get_trials(deepcopy=False, states=states)


def _fail_orphans(study: Study) -> None:
    """Give back the trials of processes of this machine that were killed."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        machine, _, process = trial.user_attrs.get(_WORKER, "").rpartition(":")
        if machine == platform.node() and not _is_running(int(process)):
            give_back(study, trial)


def _this_worker() -> str:
    return f"{platform.node()}:{os.getpid()}"


def _is_running(process: int) -> bool:
    """Whether another process of that number exists; this one has no trial when it asks for one."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True
