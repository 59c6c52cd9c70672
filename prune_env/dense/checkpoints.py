"""Dense checkpoints: trained once with instrumentation, stored under the hash of everything that decides them.

Some ship with the package, so that a benchmark on them starts at once; the others are trained on first use.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from tqdm import tqdm

from prune_env.dense.loop import Evaluation, EvaluationCallback, train_dense
from prune_env.dense.train_state import State, TrainState
from prune_env.importance import ImportanceConfig, RegularizerConfig
from prune_env.isolation import isolated
from prune_env.provenance import code_digest, source_digest
from prune_env.storage import cache_folder, canonical_json, config_hash, write_atomically
from prune_env.targets import Target, make_target

SHIPPED = Path(__file__).parents[1] / "checkpoints"
"""Folder of the checkpoints that ship with the package."""
_FORMAT = 2
# The code that decides what a dense network becomes: when it changes, cached networks are trained again.
_CODE = ("groups", "importance", "targets", "training.py", "dense/loop.py", "dense/train_state.py")
_VERSIONS = ("torch", "code", "device")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointSpec:
    """What makes a dense checkpoint; equal specs make bit-identical checkpoints on one machine, by the same code.

    Attributes:
        target: Name of a registered target.
        options: Its options.
        seed: Of initialisation and batch order.
        protect: Components and groups that are locked.
        importance: Constants of importance, which dense training measures.
        regularizer: The cosine-L1 term of dense training.
        device: Where the network is trained, as torch writes it ("cuda"). Kinds of devices have checkpoints of their
            own, as they do not agree to the last bit; those that ship with the package serve all.
    """

    target: str
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    protect: tuple[str, ...] = ()
    importance: ImportanceConfig = field(default_factory=ImportanceConfig)
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    device: str = "cpu"

    def make_target(self) -> Target:
        """The target that the checkpoint belongs to."""
        return make_target(self.target, **self.options)


def fresh_train_state(
    spec: CheckpointSpec, target: Target | None = None, generator: torch.Generator | None = None
) -> TrainState:
    """A freshly initialised model with its groups, optimizers and observers."""
    generator = generator or torch.Generator().manual_seed(spec.seed)
    return TrainState.fresh(
        target or spec.make_target(), generator, spec.protect, spec.importance, spec.regularizer, spec.device
    )


@isolated()
def load_checkpoint(
    spec: CheckpointSpec,
    progress: bool = True,
    callback: EvaluationCallback | None = None,
    remarks: Mapping[str, Any] | None = None,
) -> TrainState:
    """A trained network: from the package or the cache if it is there, otherwise trained now and cached.

    Several processes may ask for the same checkpoint: one trains it, the others wait. A damaged file is replaced.

    Args:
        spec: What is wanted.
        progress: Show a bar when training takes longer than two seconds.
        callback: Called after every evaluation, with the best value so far, if the network is trained now.
        remarks: JSON stored beside the tensors if the network is trained now, e.g. the command that made them.
    """
    generator = torch.Generator().manual_seed(spec.seed)
    target = spec.make_target()
    train_state = fresh_train_state(spec, target, generator)
    settings = _settings(spec, target)
    stored = _find(settings)
    if stored is None:
        stem = _cached(settings)
        stem.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{stem}.lock"):
            stored = _find(settings)
            if stored is None:
                with tqdm(
                    total=target.dense_steps, desc="dense network", unit="step", delay=2, disable=not progress,
                    leave=False,
                ) as bar:  # fmt: skip
                    evaluations = train_dense(
                        train_state, generator, stem.with_suffix(".partial"), callback, bar.update
                    )
                _write(stem, settings, train_state.state(), evaluations, remarks or {})
                stem.with_suffix(".partial").unlink(missing_ok=True)
                return train_state
    train_state.load(load_tensors(stored.content))
    target.anneal(train_state.optimizers)
    return train_state


def is_cached(spec: CheckpointSpec) -> bool:
    """Whether `load_checkpoint` would find this checkpoint on disk."""
    settings = _settings(spec, spec.make_target())
    return any(
        stem.with_suffix(".json").is_file() and stem.with_suffix(".safetensors").is_file()
        for stem in (_shipped(settings), _cached(settings))
    )


def identify(spec: CheckpointSpec) -> str:
    """What tells a dense network from others, 16 hex digits; nothing is trained for it.

    Those that come with the package are known by their tensors, the others by the configuration, the code and the
    version of torch that make them.
    """
    settings = _settings(spec, spec.make_target())
    shipped = _read(_shipped(settings), settings, other_versions=True)
    return config_hash(settings) if shipped is None else str(shipped.description["sha256"])[:16]


def training_history(spec: CheckpointSpec) -> list[Evaluation]:
    """The evaluations of a checkpoint during training; none if it is not stored, or was never evaluated."""
    stored = _find(_settings(spec, spec.make_target()))
    return (
        [] if stored is None else [Evaluation(**evaluation) for evaluation in stored.description.get("evaluations", ())]
    )


def export_checkpoint(spec: CheckpointSpec, folder: Path, **remarks: Any) -> Path:
    """Copy a checkpoint that is there into a folder, in the form in which the package ships them.

    Args:
        spec: Which one.
        folder: Where to.
        **remarks: JSON that is written beside the tensors, where the checkpoint does not say it of itself.

    Returns:
        The path of the tensors.

    Raises:
        FileNotFoundError: If it is neither in the package nor in the cache.
    """
    settings = _settings(spec, spec.make_target())
    stored, stem = _find(settings), folder / _shipped(settings).name
    if stored is None:
        raise FileNotFoundError(f"there is no checkpoint of {spec}: load_checkpoint trains it")
    _put(stem, stored.content, {**remarks, **stored.description})
    return stem.with_suffix(".safetensors")


def _settings(spec: CheckpointSpec, target: Target) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "target": spec.target,
        "settings": target.settings(),
        "seed": spec.seed,
        "protect": sorted(spec.protect),
        "importance": asdict(spec.importance),
        "regularizer": asdict(spec.regularizer),
        "torch": torch.__version__,
        "device": torch.device(spec.device).type,
        "code": [code_digest(*(f"prune_env/{part}" for part in _CODE)), source_digest(type(target))],
    }


def _cached(settings: Mapping[str, Any]) -> Path:
    return cache_folder() / "checkpoints" / config_hash(settings)


def _shipped(settings: Mapping[str, Any]) -> Path:
    """A shipped file serves every version of torch and of the code."""
    return SHIPPED / config_hash({key: value for key, value in settings.items() if key not in _VERSIONS})


@dataclass(frozen=True)
class _Stored:
    """A checkpoint on disk, verified: its tensors, and what is written beside them."""

    content: bytes
    description: dict[str, Any]


def _find(settings: Mapping[str, Any]) -> _Stored | None:
    shipped = _read(_shipped(settings), settings, other_versions=True)
    return _read(_cached(settings), settings) if shipped is None else shipped


def _write(
    stem: Path, settings: Mapping[str, Any], state: State, evaluations: list[Evaluation], remarks: Mapping[str, Any]
) -> None:
    content = save_tensors(state)
    description = {
        "made_by": settings,
        "sha256": hashlib.sha256(content).hexdigest(),
        "evaluations": [asdict(evaluation) for evaluation in evaluations],
        **remarks,
    }
    _put(stem, content, description)


def _put(stem: Path, content: bytes, description: Mapping[str, Any]) -> None:
    write_atomically(stem.with_suffix(".safetensors"), content)
    write_atomically(stem.with_suffix(".json"), canonical_json(description).encode())


def _read(stem: Path, settings: Mapping[str, Any], other_versions: bool = False) -> _Stored | None:
    """A verified checkpoint; None if there is none or it is damaged."""
    tensors, description = stem.with_suffix(".safetensors"), stem.with_suffix(".json")
    if not (tensors.is_file() and description.is_file()):
        return None
    try:
        content = tensors.read_bytes()
        said = json.loads(description.read_text())
        wanted = json.loads(canonical_json(settings))
        made_by = said["made_by"]
        if other_versions:
            wanted, made_by = ({k: v for k, v in made.items() if k not in _VERSIONS} for made in (wanted, made_by))
        if said["sha256"] != hashlib.sha256(content).hexdigest() or made_by != wanted:
            raise ValueError("its checksum or configuration does not fit")
        return _Stored(content, said)
    except (ValueError, KeyError, OSError) as error:
        _log.warning("checkpoint %s is damaged (%s); it is trained again", tensors, error)
        return None
