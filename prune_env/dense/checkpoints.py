"""Dense checkpoints: trained once with instrumentation, stored under the hash of everything that decides them.

Some ship with the package, so that a benchmark on them starts at once; the others are trained on first use.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from tqdm import tqdm

from prune_env.dense.loop import Evaluation, EvaluationCallback, train_dense
from prune_env.dense.train_state import TrainState
from prune_env.described import describe
from prune_env.importance import ImportanceConfig, RegularizerConfig
from prune_env.isolation import isolated, own_random_state
from prune_env.provenance import code_digest
from prune_env.storage import (
    cache_folder,
    canonical_json,
    config_hash,
    locked,
    read_sealed,
    write_atomically,
    write_sealed,
)
from prune_env.targets import Target, known_targets, make_target
from prune_env.targets.registry import default_options
from prune_env.user_code import describe_code

SHIPPED = Path(__file__).parents[1] / "checkpoints"
"""Folder of the checkpoints that ship with the package."""
_FORMAT = 2
# The code that decides what a dense network becomes: when it changes, cached networks are trained again.
_CODE = (
    "groups",
    "importance",
    "targets",
    "training.py",
    "isolation.py",
    "dense/loop.py",
    "dense/measuring.py",
    "dense/train_state.py",
)
_VERSIONS = ("torch", "code", "user_code", "device", "dtype")
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


@dataclass(frozen=True)
class StoredCheckpoint:
    """A trained network as bytes, verified: it can be stored, or sent to another machine.

    Attributes:
        content: The tensors, as safetensors.
        description: What is written beside them: what made them, their checksum, the evaluations of their training.
    """

    content: bytes
    description: dict[str, Any]


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
    with own_random_state(spec.seed):
        return _load(spec, progress, callback, remarks or {})


def _load(
    spec: CheckpointSpec, progress: bool, callback: EvaluationCallback | None, remarks: Mapping[str, Any]
) -> TrainState:
    settings = _settings(spec)
    train_state, generator = _begin(spec)
    stored = _find(settings)
    if stored is None:
        with locked(_cached(settings)):
            stored = _find(settings)
            if stored is None:
                _store(settings, _train(settings, train_state, generator, progress, callback, remarks))
                return train_state
    train_state.load(load_tensors(stored.content))
    train_state.target.anneal(train_state.optimizers)
    return train_state


@isolated()
def train_checkpoint(
    spec: CheckpointSpec, callback: EvaluationCallback | None = None, remarks: Mapping[str, Any] | None = None
) -> tuple[TrainState, StoredCheckpoint]:
    """Train a network, or resume its training, and return it without storing it; arguments as for `load_checkpoint`.

    A worker does this, and its parent stores what it returns.
    """
    with own_random_state(spec.seed):
        train_state, generator = _begin(spec)
        return train_state, _train(_settings(spec), train_state, generator, False, callback, remarks or {})


@isolated()
def store_checkpoint(spec: CheckpointSpec, stored: StoredCheckpoint) -> None:
    """Put a trained network into the cache.

    Raises:
        ValueError: If other settings, code or versions made it than this process would use.
    """
    settings = _settings(spec)
    made_by = stored.description["made_by"]
    if canonical_json(made_by) != canonical_json(settings):
        differ = sorted(
            name for name in settings if canonical_json(made_by.get(name)) != canonical_json(settings[name])
        )
        raise ValueError(
            f"a worker made another network of target {spec.target!r} than this process would ({', '.join(differ)} "
            "differ): the same versions of prune_env, of torch and of the target's code must be installed everywhere"
        )
    _store(settings, stored)


@isolated()
def checkpoint_stem(spec: CheckpointSpec) -> Path:
    """Path of a network in the cache, without suffix; who trains and stores it holds `storage.locked` of it."""
    return _cached(_settings(spec))


@isolated()
def checkpoint_files(spec: CheckpointSpec) -> list[Path]:
    """The files of a network in the cache; none if it comes with the package, or is not there."""
    settings = _settings(spec)
    shipped = _read(_shipped(settings), settings, other_versions=True)
    if shipped is not None or _read(_cached(settings), settings) is None:
        return []
    return [_cached(settings).with_suffix(suffix) for suffix in (".safetensors", ".json")]


def _begin(spec: CheckpointSpec) -> tuple[TrainState, torch.Generator]:
    generator = torch.Generator().manual_seed(spec.seed)
    return fresh_train_state(spec, spec.make_target(), generator), generator


def _train(
    settings: Mapping[str, Any],
    train_state: TrainState,
    generator: torch.Generator,
    progress: bool,
    callback: EvaluationCallback | None,
    remarks: Mapping[str, Any],
) -> StoredCheckpoint:
    with tqdm(
        total=train_state.target.dense_training.steps, desc="dense network", unit="step", delay=2, disable=not progress,
        leave=False,
    ) as bar:  # fmt: skip
        evaluations = train_dense(train_state, generator, _resume_path(settings), callback, bar.update)
    content = save_tensors(train_state.state())
    description = {
        "made_by": settings,
        "sha256": hashlib.sha256(content).hexdigest(),
        "evaluations": [asdict(evaluation) for evaluation in evaluations],
        **remarks,
    }
    return StoredCheckpoint(content, description)


def _store(settings: Mapping[str, Any], stored: StoredCheckpoint) -> None:
    _put(_cached(settings), stored.content, stored.description)
    _resume_path(settings).unlink(missing_ok=True)


def _resume_path(settings: Mapping[str, Any]) -> Path:
    return _cached(settings).with_suffix(".partial")


@isolated()
def is_cached(spec: CheckpointSpec) -> bool:
    """Whether `load_checkpoint` would find this checkpoint on disk, undamaged."""
    return _find(_settings(spec)) is not None


@isolated()
def identify(spec: CheckpointSpec) -> str:
    """What tells a dense network from others, 16 hex digits; nothing is trained for it.

    Those that come with the package are known by their tensors, the others by the configuration, the code and the
    version of torch that make them.
    """
    settings = _settings(spec)
    shipped = _read(_shipped(settings), settings, other_versions=True)
    return config_hash(settings) if shipped is None else str(shipped.description["sha256"])[:16]


@isolated()
def training_history(spec: CheckpointSpec) -> list[Evaluation]:
    """The evaluations of a checkpoint during training; none if it is not stored, or was never evaluated."""
    stored = _find(_settings(spec))
    return (
        [] if stored is None else [Evaluation(**evaluation) for evaluation in stored.description.get("evaluations", ())]
    )


@isolated()
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
    settings = _settings(spec)
    stored, stem = _find(settings), folder / _shipped(settings).name
    if stored is None:
        raise FileNotFoundError(f"there is no checkpoint of {spec}: load_checkpoint trains it")
    _put(stem, stored.content, {**remarks, **stored.description})
    return stem.with_suffix(".safetensors")


def _settings(spec: CheckpointSpec) -> dict[str, Any]:
    """Everything that decides what a dense network is, as JSON."""
    target = spec.make_target()
    return {
        "format": _FORMAT,
        "target": spec.target,
        "settings": target.settings() | _other_options(spec, target),
        "seed": spec.seed,
        "protect": sorted(spec.protect),
        "importance": describe(asdict(spec.importance), "importance"),
        "regularizer": describe(_used(asdict(spec.regularizer)), "regularizer"),
        "torch": torch.__version__,
        "device": torch.device(spec.device).type,
        "dtype": str(torch.get_default_dtype()),
        "code": code_digest(*(f"prune_env/{part}" for part in _CODE)),
        "user_code": describe_code([target, known_targets()[spec.target], *vars(target).values()]),
    } | _given_tensors(spec, target)


def _given_tensors(spec: CheckpointSpec, target: Target) -> dict[str, Any]:
    """What tells a network that comes trained from others: its tensors, wherever they come from."""
    if target.dense_training.steps:
        return {}
    state = target.build(torch.Generator().manual_seed(spec.seed)).state_dict()
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    return {"tensors": config_hash(describe(tensors, "the tensors of the network"))}


def _used(regularizer: dict[str, Any]) -> dict[str, Any]:
    """Fields of the regularisation, without the later one where it is not used: networks of before keep their names."""
    return {name: value for name, value in regularizer.items() if name != "scales" or value}


def _other_options(spec: CheckpointSpec, target: Target) -> dict[str, Any]:
    """Options that no attribute of the target repeats; a target that overrides `settings` answers for them itself."""
    if type(target).settings is not Target.settings:
        return {}
    settings, defaults = target.settings(), default_options(spec.target)
    given = {name: describe(value, f"option {name} of {spec.target!r}") for name, value in spec.options.items()}
    repeated = {name for name, value in given.items() if settings.get(name, ...) == value}
    usual = {name for name in given if name in defaults and spec.options[name] is defaults[name]}
    return {f"option {name}": value for name, value in given.items() if name not in repeated | usual}


def _cached(settings: Mapping[str, Any]) -> Path:
    return cache_folder() / "checkpoints" / config_hash(settings)


def _shipped(settings: Mapping[str, Any]) -> Path:
    """A shipped file serves every version of torch and of the code."""
    return SHIPPED / config_hash({key: value for key, value in settings.items() if key not in _VERSIONS})


def _find(settings: Mapping[str, Any]) -> StoredCheckpoint | None:
    shipped = _read(_shipped(settings), settings, other_versions=True)
    return _read(_cached(settings), settings) if shipped is None else shipped


def _put(stem: Path, content: bytes, description: Mapping[str, Any]) -> None:
    write_atomically(stem.with_suffix(".safetensors"), content)
    write_sealed(stem.with_suffix(".json"), description)


def _read(stem: Path, settings: Mapping[str, Any], other_versions: bool = False) -> StoredCheckpoint | None:
    """A verified checkpoint; None if there is none or it is damaged."""
    tensors, description = stem.with_suffix(".safetensors"), stem.with_suffix(".json")
    if not (tensors.is_file() and description.is_file()):
        return None
    try:
        said = read_sealed(description, "it is not used")
        wanted, made_by = settings, said["made_by"]
        if other_versions:
            wanted, made_by = ({k: v for k, v in made.items() if k not in _VERSIONS} for made in (wanted, made_by))
        if canonical_json(made_by) != canonical_json(wanted):
            raise ValueError("it was made by another configuration")
        content = tensors.read_bytes()
        if said["sha256"] != hashlib.sha256(content).hexdigest():
            raise ValueError("the checksum of its tensors does not fit")
        return StoredCheckpoint(content, said)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        _log.warning("checkpoint %s is damaged (%s); it is trained again", tensors, error)
        return None
