"""Dense checkpoints: trained once with instrumentation, kept on disk under the hash of what made them."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor
from tqdm import tqdm

from prune_env.envs.files import cache_folder, canonical_json, config_hash, write_atomically
from prune_env.groups import Surgeon, discover
from prune_env.importance import CosineL1, ImportanceTracker
from prune_env.targets import Target, make_target
from prune_env.training import Observer, train

_FORMAT = 1  # raise it when the same configuration would make another checkpoint
_log = logging.getLogger(__name__)


class DenseTrainingError(RuntimeError):
    """A dense network diverged in training, or is no better than the floor; the message says what to change."""


@dataclass(frozen=True)
class CheckpointSpec:
    """What makes a dense checkpoint; equal specs make bit-identical checkpoints on one machine.

    Attributes:
        target: Name of a registered target.
        options: Its options.
        seed: Of initialisation and batch order.
        protect: Components and groups that are locked.
        regularise: Whether the cosine-L1 schedule runs.
    """

    target: str
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    protect: tuple[str, ...] = ()
    regularise: bool = True

    def make_target(self) -> Target:
        """The target that the checkpoint belongs to."""
        return make_target(self.target, **self.options)


@dataclass
class Learner:
    """A model with everything that trains, measures and cuts it; made by `make_learner`."""

    target: Target
    model: torch.nn.Module
    optimizers: list[torch.optim.Optimizer]
    surgeon: Surgeon
    tracker: ImportanceTracker
    observers: list[Observer]
    schedule: CosineL1


def make_learner(
    spec: CheckpointSpec, target: Target | None = None, generator: torch.Generator | None = None
) -> Learner:
    """A freshly initialised model with its groups, optimizers and observers."""
    target = target or spec.make_target()
    model = target.build(generator or torch.Generator().manual_seed(spec.seed))
    grouping = discover(model, target.trace, target.components, protect=spec.protect)
    if not len(grouping):
        reasons = "; ".join(f"{g.name}: {g.reason}" for g in grouping.locked) or "no layer was found"
        raise ValueError(f"target {spec.target!r} has no group that can be pruned ({reasons})")
    optimizers = target.optimizers(model)
    surgeon = Surgeon(model, grouping, optimizers, target.twins(model))
    tracker = ImportanceTracker(surgeon)
    schedule = CosineL1(surgeon, target.steps_per_epoch)
    # The regularisation comes first: importance is measured on the gradient of the total loss.
    observers: list[Observer] = [schedule, tracker] if spec.regularise else [tracker]
    return Learner(target, model, optimizers, surgeon, tracker, observers, schedule)


def load_checkpoint(spec: CheckpointSpec, progress: bool = True) -> Learner:
    """A trained learner: from the cache if it is there, else trained now and put there.

    Several processes may ask for the same checkpoint: one trains it, the others wait. A damaged file is trained anew.

    Args:
        spec: What is wanted.
        progress: Show a bar when training takes longer than two seconds.
    """
    generator = torch.Generator().manual_seed(spec.seed)
    target = spec.make_target()
    learner = make_learner(spec, target, generator)
    settings = _settings(spec, target)
    stem = cache_folder() / "checkpoints" / config_hash(settings)
    stem.parent.mkdir(parents=True, exist_ok=True)
    state = _read(stem, settings)
    if state is None:
        with FileLock(f"{stem}.lock"):
            state = _read(stem, settings)
            if state is None:
                _train_dense(learner, generator, progress)
                _write(stem, settings, _state_of(learner))
                return learner
    _restore_state(learner, state)
    return learner


def is_cached(spec: CheckpointSpec) -> bool:
    """Whether `load_checkpoint` would find this checkpoint on disk."""
    stem = cache_folder() / "checkpoints" / config_hash(_settings(spec, spec.make_target()))
    return stem.with_suffix(".json").is_file() and stem.with_suffix(".safetensors").is_file()


def _settings(spec: CheckpointSpec, target: Target) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "target": spec.target,
        "settings": target.settings(),
        "seed": spec.seed,
        "protect": sorted(spec.protect),
        "regularise": spec.regularise,
        "torch": torch.__version__,
    }


def _train_dense(learner: Learner, generator: torch.Generator, progress: bool) -> None:
    target, steps = learner.target, learner.target.dense_steps
    batches = target.batches(generator)
    annealed = round(steps * target.anneal_after)

    def phase(count: int) -> float:
        return train(
            target, learner.model, learner.optimizers, batches, count, learner.observers, lambda _: bar.update()
        )

    with tqdm(total=steps, desc="dense network", unit="step", delay=2, disable=not progress, leave=False) as bar:
        loss = phase(annealed)
        target.anneal(learner.optimizers)
        loss += phase(steps - annealed)
    if not math.isfinite(loss):
        raise DenseTrainingError(
            f"the dense network of {type(target).__name__} {target.settings()} diverged in training (its loss is not "
            "finite); lower the learning rate"
        )


def _state_of(learner: Learner) -> dict[str, Tensor]:
    state = {f"model.{name}": tensor for name, tensor in learner.model.state_dict().items()}
    for i, (_, twin) in enumerate(learner.surgeon.twins):
        state |= {f"twin.{i}.{name}": tensor for name, tensor in twin.state_dict().items()}
    for i, optimizer in enumerate(learner.optimizers):
        for p, values in optimizer.state_dict()["state"].items():
            for key, value in values.items():
                state[f"optimizer.{i}.{p}.{key}"] = torch.as_tensor(value)
    state |= {f"tracker.{name}": tensor for name, tensor in learner.tracker.state_dict().items()}
    state["schedule.step"] = torch.tensor(learner.schedule.step)
    return {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}


def _restore_state(learner: Learner, state: dict[str, Tensor]) -> None:
    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}

    learner.model.load_state_dict(part("model."))
    for i, (_, twin) in enumerate(learner.surgeon.twins):
        twin.load_state_dict(part(f"twin.{i}."))
    for i, optimizer in enumerate(learner.optimizers):
        values: dict[int, dict[str, Tensor]] = {}
        for key, tensor in part(f"optimizer.{i}.").items():
            parameter, _, name = key.partition(".")
            values.setdefault(int(parameter), {})[name] = tensor
        optimizer.load_state_dict({"state": values, "param_groups": optimizer.state_dict()["param_groups"]})
    learner.target.anneal(learner.optimizers)
    learner.tracker.load_state_dict(part("tracker."))
    learner.schedule.step = int(state["schedule.step"])


def _write(stem: Path, settings: dict[str, Any], state: dict[str, Tensor]) -> None:
    content = save_tensors(state)
    write_atomically(stem.with_suffix(".safetensors"), content)
    description = {"made_by": settings, "sha256": hashlib.sha256(content).hexdigest()}
    write_atomically(stem.with_suffix(".json"), canonical_json(description).encode())


def _read(stem: Path, settings: dict[str, Any]) -> dict[str, Tensor] | None:
    """The tensors, verified; None if there are none or they are damaged."""
    tensors, description = stem.with_suffix(".safetensors"), stem.with_suffix(".json")
    if not (tensors.is_file() and description.is_file()):
        return None
    try:
        content = tensors.read_bytes()
        said = json.loads(description.read_text())
        if said["sha256"] != hashlib.sha256(content).hexdigest() or said["made_by"] != json.loads(
            canonical_json(settings)
        ):
            raise ValueError("its checksum or configuration does not fit")
        return load_tensors(content)
    except (ValueError, KeyError, OSError) as error:
        _log.warning("checkpoint %s is damaged (%s); it is trained anew", tensors, error)
        return None
