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

HYPERPARAMS = "hyperparams"
"""Attribute of a trial: its hyperparameters, once all are drawn."""
_WORKER = "worker"  # attribute of a trial: the machine and process that run it
_DRAW = "draw"  # attribute of a trial that is tried again: the number of its draw
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
        _drop_cut_line(path)
    return JournalStorage(JournalFileBackend(str(path)))


def _drop_cut_line(path: Path) -> None:
    """Drop a last line without its end, which a full disk or a power cut leaves: Optuna would write on in that line."""
    from optuna.storages.journal import JournalFileSymlinkLock

    if not _cut(path):
        return
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()
    try:
        if cut := _cut(path):  # nobody was about to write the rest
            with path.open("r+b") as file:
                file.truncate(path.stat().st_size - cut)
    finally:
        lock.release()


def _cut(path: Path) -> int:
    """Bytes after the last end of a line."""
    return len(path.read_bytes().rpartition(b"\n")[2])


def ask(study: Study, trials: int, seed: int) -> Trial | None:
    """The next trial; None if the study has as many as it should.

    What is drawn depends on the seed and on how many trials were drawn before, without those that are tried again: an
    interrupted study draws as one that was not.

    Args:
        study: The study.
        trials: Trials that it should have: finished, pruned or running, in whatever process.
        seed: Of the draws.
    """
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    _give_back_orphans(study)
    if len(_counted(study)) >= trials:
        return None
    if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        # A trial names its worker before it runs. Whenever the worker is killed, the next one knows whose it was.
        study.enqueue_trial({}, user_attrs={_WORKER: _this_worker()})
    trial = study.ask()
    try:
        trial.set_user_attr(_WORKER, _this_worker())
    except RuntimeError:  # finished: another process took it for that of a killed one, whose name it bore until now
        return ask(study, trials, seed)
    if sum(other.number < trial.number for other in _counted(study)) >= trials:  # others asked at the same time
        study.tell(trial.number, state=TrialState.FAIL)
        return None
    draw = np.random.SeedSequence([seed, _draw(study, trial)]).generate_state(1)[0]
    study.sampler = TPESampler(seed=int(draw), multivariate=False)  # Optuna draws when a hyperparameter is asked for
    return trial


def give_back(study: Study, trial: Trial | FrozenTrial) -> None:
    """End a trial that was interrupted; whoever asks next tries its hyperparameters again."""
    from optuna.trial import TrialState

    held = study.get_trials(deepcopy=False)[trial.number]
    if held.state.is_finished():
        return
    draw = _draw(study, held)
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if not any(other.user_attrs.get(_DRAW) == draw for other in waiting):  # before it ends: a kill here loses nothing
        again = held.params if HYPERPARAMS in held.user_attrs else {}
        study.enqueue_trial(again, user_attrs={_WORKER: _this_worker(), _DRAW: draw})
    study.tell(held.number, state=TrialState.FAIL, skip_if_finished=True)


def _draw(study: Study, trial: Trial | FrozenTrial) -> int:
    """The number of the draw of a trial: its own, less those of the trials before it that repeat others."""
    repeated = trial.user_attrs.get(_DRAW)
    if repeated is not None:
        return repeated
    return trial.number - sum(_DRAW in other.user_attrs for other in study.get_trials(deepcopy=False)[: trial.number])


def _counted(study: Study) -> list[FrozenTrial]:
    from optuna.trial import TrialState

    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    return study.get_trials(deepcopy=False, states=states)


def _give_back_orphans(study: Study) -> None:
    """Give back the trials of processes of this machine that were killed."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        machine, process, started = trial.user_attrs.get(_WORKER, "::").rsplit(":", 2)
        if machine == platform.node() and not _is_running(int(process), started):
            give_back(study, trial)


def _this_worker() -> str:
    return f"{platform.node()}:{os.getpid()}:{_started(os.getpid())}"


def _is_running(process: int, started: str) -> bool:
    """Whether another process is the one of that number that was started then; this one has no trial when it asks."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        pass
    return _started(process) == started


def _started(process: int) -> str:
    """When a process was started, in the system's own unit, as numbers of processes are used again; "" if unknown."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
