"""Dense networks as independent jobs: workers train and score them, the parent stores them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from filelock import Timeout

from prune_env.dense.checkpoints import (
    CheckpointSpec,
    StoredCheckpoint,
    checkpoint_files,
    checkpoint_stem,
    identify,
    is_cached,
    load_checkpoint,
    store_checkpoint,
    train_checkpoint,
)
from prune_env.dense.loop import DenseTrainingError, Evaluation
from prune_env.dense.train_state import TrainState
from prune_env.parallel import Engine, Send, map_unordered
from prune_env.storage import locked

EvaluationListener = Callable[[CheckpointSpec, Evaluation, float], None]
"""Called with a network in training, an evaluation of it, and the best value so far."""


@dataclass(frozen=True)
class Trained:
    """A network that is in the cache now, or why it is not.

    Attributes:
        spec: Which one.
        test: Its score and metrics on test data, by name; empty if nobody asked for them.
        error: Why there is no network; None if there is.
    """

    spec: CheckpointSpec
    test: Mapping[str, float] = field(default_factory=dict)
    error: DenseTrainingError | None = None


@dataclass(frozen=True)
class _Work:
    spec: CheckpointSpec
    train: bool
    test: bool
    remarks: Mapping[str, Any]


def train_networks(
    specs: Sequence[CheckpointSpec],
    jobs: int = 1,
    *,
    test: bool = False,
    remarks: Mapping[str, Any] | None = None,
    on_evaluation: EvaluationListener | None = None,
    engine: Engine = "local",
) -> Iterator[Trained]:
    """Train whatever is not cached yet, and store it; yields networks as they are done.

    What another process is training is waited for, after all else is done.

    Args:
        specs: Networks; one that is given twice is trained once.
        jobs: Local processes.
        test: Score all networks on test data, also those that are cached.
        remarks: JSON stored beside the tensors of networks that are trained now.
        on_evaluation: Called in this process after every evaluation of a network that is trained.
        engine: Where jobs are done, see `prune_env.parallel`.
    """
    left = list({identify(spec): spec for spec in specs}.values())
    while left:
        busy: list[CheckpointSpec] = []
        work: list[_Work] = []
        with ExitStack() as held:
            locks = {}
            for spec in left:
                if not is_cached(spec):
                    lock = _try_to_lock(spec)
                    if lock is None:
                        busy.append(spec)
                        continue
                    locks[identify(spec)] = held.enter_context(lock)
                train = not is_cached(spec)  # asked again: it may have been stored before the lock was free
                if train or test:
                    work.append(_Work(spec, train, test, dict(remarks or {})))
            results = map_unordered(
                _do, work, jobs, "dense networks", engine=engine, files=_files, on_message=partial(_tell, on_evaluation)
            )
            for trained, stored in results:
                if stored is not None:
                    store_checkpoint(trained.spec, stored)
                    locks[identify(trained.spec)].close()
                yield trained
        if busy:
            with locked(checkpoint_stem(busy[0])):
                pass
        left = busy


def _try_to_lock(spec: CheckpointSpec) -> ExitStack | None:
    """The lock of a network, held, or None if another process trains it."""
    held = ExitStack()
    try:
        held.enter_context(locked(checkpoint_stem(spec), timeout=0.0))
    except Timeout:
        return None
    return held


def _files(work: _Work) -> list[Path]:
    return [] if work.train else checkpoint_files(work.spec)


def _tell(callback: EvaluationListener | None, work: _Work, message: tuple[Evaluation, float]) -> None:
    if callback is not None:
        callback(work.spec, *message)


def _do(work: _Work, send: Send) -> tuple[Trained, StoredCheckpoint | None]:
    """What a worker does; whatever it made goes back with the result."""
    stored = None
    try:
        if work.train:
            train_state, stored = train_checkpoint(work.spec, lambda *evaluated: send(evaluated), work.remarks)
        else:
            train_state = load_checkpoint(work.spec, progress=False)
    except DenseTrainingError as error:
        return Trained(work.spec, error=error), None
    return Trained(work.spec, _test_numbers(train_state) if work.test else {}), stored


def _test_numbers(train_state: TrainState) -> dict[str, float]:
    target, model = train_state.target, train_state.model
    metrics = {f"test_{name}": value for name, value in target.metrics(model, "test").items()}
    return {"test_score": target.score(model, "test"), **metrics}
