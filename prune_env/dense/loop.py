"""Train a dense network: evaluate periodically, keep the best, resume after an interruption."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from prune_env.dense.measuring import measure_importance
from prune_env.dense.train_state import State, TrainState, part
from prune_env.storage import canonical_json, write_atomically
from prune_env.training import train

_SAVE_EVERY = 30.0  # at most so often [s] ...
_SAVE_SHARE = 20.0  # ... and at most every so many times as long as the last save took
_log = logging.getLogger(__name__)


class DenseTrainingError(RuntimeError):
    """A dense network diverged in training, or is no better than the floor; the message says what to change."""


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a network in training.

    Attributes:
        step: Training steps done by then.
        seconds: Training time so far, over all resumed runs, without the evaluations [s].
        loss: Mean task loss since the previous evaluation.
        value: Model-selection metric, maximised: the first of `numbers`.
        numbers: What the target's `evaluate` returned.
    """

    step: int
    seconds: float
    loss: float
    value: float
    numbers: dict[str, float]


@dataclass
class Progress:
    """How far dense training has come: what is needed to resume, besides the train state itself."""

    step: int = 0
    seconds: float = 0.0
    evaluations: list[Evaluation] = field(default_factory=list)
    best: State | None = None
    best_value: float = -math.inf


EvaluationCallback = Callable[[Evaluation, float], None]
"""Called after every evaluation, with the best value so far."""


def train_dense(
    train_state: TrainState,
    generator: torch.Generator,
    resume_path: Path | None = None,
    callback: EvaluationCallback | None = None,
    step_done: Callable[[int], None] | None = None,
) -> list[Evaluation]:
    """Train a fresh train state as its target's `dense_training` says, and restore the best network where that is kept.

    A network that is trained already (no steps) is not trained; its importance is measured instead.

    Args:
        train_state: What to train.
        generator: Draws the batches.
        resume_path: File that holds the state of a training run, for targets whose batches can be resumed; it must have
            been written for the same configuration. The caller deletes it once the result is stored.
        callback: Called after every evaluation, with the evaluation and the best value so far.
        step_done: Called with the number of steps done since the last call.

    Raises:
        DenseTrainingError: If the loss, or a number of an evaluation, was not finite.
    """
    target, plan = train_state.target, train_state.target.dense_training
    steps = plan.steps
    if not steps:
        measure_importance(train_state, generator)
        target.anneal(train_state.optimizers)
        return []
    batches = target.batches(generator)
    annealed = round(steps * plan.anneal_after)
    eval_every = plan.eval_every if plan.keep == "best" else None
    progress = _resume(resume_path, train_state, generator, batches)
    if step_done is not None and progress.step:
        step_done(progress.step)
    tick = None if step_done is None else lambda _: step_done(1)
    saves = _Saves()
    losses: list[tuple[int, float]] = []
    while progress.step < steps:
        end = _next_stop(progress.step, steps, annealed, eval_every)
        count, begun = end - progress.step, time.perf_counter()
        loss = train(target, train_state.model, train_state.optimizers, batches, count, train_state.observers, tick)
        progress.step, progress.seconds = end, progress.seconds + time.perf_counter() - begun
        losses.append((count, loss))
        if not math.isfinite(loss):
            raise _diverged(train_state, end, "its loss is not finite")
        if end == annealed:
            target.anneal(train_state.optimizers)
        if eval_every and (end % eval_every == 0 or end == steps):
            _evaluate(train_state, batches, progress, losses, callback)
            losses = []
            if resume_path is not None and end < steps and saves.due():
                saves.time(lambda: _save(resume_path, train_state, generator, batches, progress))
    if progress.best is not None:
        train_state.load(progress.best)
        target.anneal(train_state.optimizers)
    return progress.evaluations


def _next_stop(step: int, steps: int, annealed: int, eval_every: int | None) -> int:
    """Where to interrupt training next: to evaluate, to anneal, or because it is over."""
    stops = [steps]
    if eval_every:
        stops.append((step // eval_every + 1) * eval_every)
    if step < annealed:
        stops.append(annealed)
    return min(stops)


def _diverged(train_state: TrainState, step: int, why: str) -> DenseTrainingError:
    target = train_state.target
    return DenseTrainingError(
        f"the dense network of {type(target).__name__} {target.settings()} diverged in training by step {step} "
        f"({why}); lower the learning rate"
    )


def _evaluate(
    train_state: TrainState,
    batches: Iterator[Any],
    progress: Progress,
    losses: list[tuple[int, float]],
    callback: EvaluationCallback | None,
) -> None:
    numbers = train_state.target.evaluate(train_state.model, batches)
    if wrong := {name: value for name, value in numbers.items() if not math.isfinite(value)}:
        listed = ", ".join(f"{name} = {value}" for name, value in wrong.items())
        raise _diverged(train_state, progress.step, f"its evaluation gives {listed}")
    loss = sum(count * loss for count, loss in losses) / sum(count for count, _ in losses)
    evaluation = Evaluation(progress.step, progress.seconds, loss, next(iter(numbers.values())), numbers)
    progress.evaluations.append(evaluation)
    if evaluation.value > progress.best_value:
        progress.best, progress.best_value = train_state.state(), evaluation.value
    if callback is not None:
        callback(evaluation, progress.best_value)


# ---------------------------------------------------------------------- resuming
class _Saves:
    """When to save: rarely enough that saving takes a small share of the time, however large the state is."""

    def __init__(self) -> None:
        self._last, self._pause = time.monotonic(), _SAVE_EVERY

    def due(self) -> bool:
        return time.monotonic() - self._last > self._pause

    def time(self, save: Callable[[], None]) -> None:
        begun = time.monotonic()
        save()
        self._last = time.monotonic()
        self._pause = max(_SAVE_EVERY, _SAVE_SHARE * (self._last - begun))


def _save(
    path: Path, train_state: TrainState, generator: torch.Generator, batches: Iterator[Any], progress: Progress
) -> None:
    if not hasattr(batches, "state_dict"):
        return
    state = {f"now.{name}": tensor for name, tensor in train_state.state().items()}
    state |= {f"best.{name}": tensor for name, tensor in (progress.best or {}).items()}
    state |= {f"batches.{name}": tensor.contiguous() for name, tensor in batches.state_dict().items()}
    state["generator"] = generator.get_state()
    state["global.torch"] = torch.get_rng_state()  # of code that draws without a generator, such as dropout
    _, keys, *rest = np.random.get_state()  # noqa: NPY002
    state["global.numpy"] = torch.from_numpy(np.asarray(keys, dtype=np.int64))
    version, internal, gauss = random.getstate()
    described = {
        "step": progress.step,
        "seconds": progress.seconds,
        "best_value": progress.best_value if progress.best is not None else None,
        "evaluations": [asdict(evaluation) for evaluation in progress.evaluations],
        "numpy": rest,
        "random": [version, list(internal), gauss],
    }
    said = canonical_json(described)
    write_atomically(path, save(state, {"progress": said, "sha256": _checksum(path, state, said)}))


def _checksum(path: Path, state: State, described: str) -> str:
    """Of all that a resume file holds, and of what it is for, which its name says."""
    return hashlib.sha256(save(state) + described.encode() + path.stem.encode()).hexdigest()


def _resume(path: Path | None, train_state: TrainState, generator: torch.Generator, batches: Iterator[Any]) -> Progress:
    if path is None or not path.is_file() or not hasattr(batches, "load_state_dict"):
        return Progress()
    try:
        content = path.read_bytes()
        state = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        if header["sha256"] != _checksum(path, state, header["progress"]):
            raise ValueError("its checksum does not fit")
        described = json.loads(header["progress"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        # Written atomically, so the file was damaged from outside.
        _log.warning("%s is damaged (%s); training starts anew", path, error)
        return Progress()
    train_state.load(part(state, "now."))
    plan = train_state.target.dense_training
    if described["step"] >= round(plan.steps * plan.anneal_after):
        train_state.target.anneal(train_state.optimizers)
    batches.load_state_dict(part(state, "batches."))
    generator.set_state(state["generator"])
    torch.set_rng_state(state["global.torch"])
    np.random.set_state(("MT19937", state["global.numpy"].numpy(), *described["numpy"]))  # noqa: NPY002
    version, internal, gauss = described["random"]
    random.setstate((version, tuple(internal), gauss))
    evaluations = [Evaluation(**evaluation) for evaluation in described["evaluations"]]
    best = described["best_value"]
    return Progress(
        described["step"],
        described["seconds"],
        evaluations,
        part(state, "best.") or None,
        -math.inf if best is None else best,
    )
