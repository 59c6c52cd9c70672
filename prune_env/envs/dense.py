"""Dense training: looked at now and then, the best network kept, and gone on with after a kill."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from prune_env.envs.files import write_atomically
from prune_env.envs.learner import Learner, State, part
from prune_env.training import train

_SAVE_EVERY = 30.0  # at most so often [s] ...
_SAVE_SHARE = 20.0  # ... and at most every so many times as long as the last save took


class DenseTrainingError(RuntimeError):
    """A dense network diverged in training, or is no better than the floor; the message says what to change."""


@dataclass(frozen=True)
class Look:
    """One look at a network in training.

    Attributes:
        step: Training steps done by then.
        seconds: Of training, looks not counted; of the last process, if training was killed in between [s].
        loss: Mean task loss since the look before.
        value: What the best network has most of: the first of the numbers.
        numbers: What the target's `look` said.
    """

    step: int
    seconds: float
    loss: float
    value: float
    numbers: dict[str, float]


@dataclass
class Progress:
    """How far dense training has come; everything that is needed to go on, besides the learner's own state."""

    step: int = 0
    seconds: float = 0.0
    looks: list[Look] = field(default_factory=list)
    best: State | None = None
    best_value: float = -math.inf


Watcher = Callable[[Look, float], None]


def train_dense(
    learner: Learner,
    generator: torch.Generator,
    bookmark: Path | None = None,
    watcher: Watcher | None = None,
    step_done: Callable[[int], None] | None = None,
) -> list[Look]:
    """Train a fresh learner for the target's `dense_steps`, and leave it as it was at the best look.

    Args:
        learner: What to train.
        generator: Draws the batches.
        bookmark: File that keeps the state of training while it lasts, if the target's batches can go on; it must have
            been written for the same configuration. It stays: delete it when what was trained is safe.
        watcher: Called after every look, with the look and the best value so far.
        step_done: Called with the number of steps done since the last call.

    Raises:
        DenseTrainingError: If the loss, or a number of a look, was not finite.
    """
    target, steps = learner.target, learner.target.dense_steps
    batches = target.batches(generator)
    annealed = round(steps * target.anneal_after)
    progress = _resume(bookmark, learner, generator, batches)
    if step_done is not None and progress.step:
        step_done(progress.step)
    tick = None if step_done is None else lambda _: step_done(1)
    saves = _Saves()
    losses: list[tuple[int, float]] = []
    while progress.step < steps:
        end = _next_stop(progress.step, steps, annealed, target.look_every)
        count, begun = end - progress.step, time.perf_counter()
        loss = train(target, learner.model, learner.optimizers, batches, count, learner.observers, tick)
        progress.step, progress.seconds = end, progress.seconds + time.perf_counter() - begun
        losses.append((count, loss))
        if not math.isfinite(loss):
            raise _diverged(learner, end, "its loss is not finite")
        if end == annealed:
            target.anneal(learner.optimizers)
        if target.look_every and (end % target.look_every == 0 or end == steps):
            _look(learner, batches, progress, losses, watcher)
            losses = []
            if bookmark is not None and end < steps and saves.due():
                saves.time(lambda: _save(bookmark, learner, generator, batches, progress))
    if progress.best is not None:  # go back to the best look
        learner.load(progress.best)
        target.anneal(learner.optimizers)
    return progress.looks


def _next_stop(step: int, steps: int, annealed: int, look_every: int) -> int:
    """Where to interrupt training next: to look, to anneal, or because it is over."""
    stops = [steps]
    if look_every:
        stops.append((step // look_every + 1) * look_every)
    if step < annealed:
        stops.append(annealed)
    return min(stops)


def _diverged(learner: Learner, step: int, why: str) -> DenseTrainingError:
    target = learner.target
    return DenseTrainingError(
        f"the dense network of {type(target).__name__} {target.settings()} diverged in training by step {step} "
        f"({why}); lower the learning rate"
    )


def _look(
    learner: Learner,
    batches: Iterator[Any],
    progress: Progress,
    losses: list[tuple[int, float]],
    watcher: Watcher | None,
) -> None:
    numbers = learner.target.look(learner.model, batches)
    if wrong := {name: value for name, value in numbers.items() if not math.isfinite(value)}:
        said = ", ".join(f"{name} = {value}" for name, value in wrong.items())
        raise _diverged(learner, progress.step, f"the look at it says {said}")
    loss = sum(count * loss for count, loss in losses) / sum(count for count, _ in losses)
    look = Look(progress.step, progress.seconds, loss, next(iter(numbers.values())), numbers)
    progress.looks.append(look)
    if look.value > progress.best_value:
        progress.best, progress.best_value = learner.state(), look.value
    if watcher is not None:
        watcher(look, progress.best_value)


# ---------------------------------------------------------------------- going on after a kill
class _Saves:
    """When to save: rarely enough that saving takes a small share of the time, whatever there is to be saved."""

    def __init__(self) -> None:
        self._last, self._pause = time.monotonic(), _SAVE_EVERY

    def due(self) -> bool:
        return time.monotonic() - self._last > self._pause

    def time(self, save: Callable[[], None]) -> None:
        begun = time.monotonic()
        save()
        self._last = time.monotonic()
        self._pause = max(_SAVE_EVERY, _SAVE_SHARE * (self._last - begun))


def _save(path: Path, learner: Learner, generator: torch.Generator, batches: Iterator[Any], progress: Progress) -> None:
    if not hasattr(batches, "state_dict"):
        return
    state = {f"now.{name}": tensor for name, tensor in learner.state().items()}
    state |= {f"best.{name}": tensor for name, tensor in (progress.best or {}).items()}
    state |= {f"batches.{name}": tensor.contiguous() for name, tensor in batches.state_dict().items()}
    state["generator"] = generator.get_state()
    said = {
        "step": progress.step,
        "seconds": progress.seconds,
        "best_value": progress.best_value,
        "looks": [asdict(look) for look in progress.looks],
    }
    write_atomically(path, save(state, {"progress": json.dumps(said)}))


def _resume(path: Path | None, learner: Learner, generator: torch.Generator, batches: Iterator[Any]) -> Progress:
    if path is None or not path.is_file() or not hasattr(batches, "load_state_dict"):
        return Progress()
    try:
        with safe_open(path, "pt") as file:
            said = json.loads(file.metadata()["progress"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    except (SafetensorError, OSError):  # written atomically, so this is damage from outside: begin anew
        return Progress()
    learner.load(part(state, "now."))
    if said["step"] >= round(learner.target.dense_steps * learner.target.anneal_after):
        learner.target.anneal(learner.optimizers)
    batches.load_state_dict(part(state, "batches."))
    generator.set_state(state["generator"])
    looks = [Look(**look) for look in said["looks"]]
    return Progress(said["step"], said["seconds"], looks, part(state, "best.") or None, said["best_value"])
