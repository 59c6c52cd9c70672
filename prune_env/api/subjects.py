"""What can be pruned: a module with functions, a target, the name of one, or a file that holds a trained network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from prune_env.dense import CheckpointSpec, Network
from prune_env.importance import RegularizerConfig
from prune_env.open_sets import find
from prune_env.storage import expanded
from prune_env.targets import ModuleTarget, SB3Agent, Target, known_targets
from prune_env.targets.module import NO_LOSS

FILE_TARGETS: dict[str, Callable[..., Target]] = {".zip": SB3Agent}
"""Suffix of files -> what makes a target of such a file, called with its path and with options."""


def network_of(subject: Any, functions: Mapping[str, Any], options: Mapping[str, Any], **choices: Any) -> Network:
    """The dense network that a subject stands for.

    Args:
        subject: A module, a target, a target's name, an agent of Stable-Baselines3, or the path of a file whose suffix
            `FILE_TARGETS` knows.
        functions: Arguments of `ModuleTarget`; for modules alone.
        options: Options of a target by its name, or of a file.
        **choices: `seed`, and `protect`: components and groups that are locked.

    Raises:
        TypeError: If functions come with what is no module, or options with what has none.
        ValueError: If the subject is nothing of these, or does not fit.
    """
    given = {name: value for name, value in functions.items() if value is not None}
    if isinstance(subject, nn.Module):
        _refuse(options, f"a {type(subject).__name__} is no name of a target: it has no options")
        return _of_module(ModuleTarget(subject, **given), type(subject).__name__, **choices)
    _refuse(given, "they describe an nn.Module; a target says these things itself")
    if hasattr(subject, "policy") and hasattr(subject, "save"):  # an agent of Stable-Baselines3
        return _of_target(SB3Agent(subject, **options), type(subject).__name__, **choices)
    if isinstance(subject, Target):
        _refuse(options, "options are for targets by their names; this one is made already")
        return _of_target(subject, type(subject).__name__, **choices)
    if not isinstance(subject, (str, Path)):
        raise ValueError(
            f"prune takes an nn.Module, a Target or its name, or an SB3 agent or its zip; got {type(subject).__name__}"
        )
    path = expanded(subject)
    if path.suffix in FILE_TARGETS:
        if not path.is_file():
            raise ValueError(f"there is no file {str(subject)!r}")
        return _of_target(FILE_TARGETS[path.suffix](path, **options), path.name, **choices)
    find("target", str(subject), known_targets())
    return _of_name(str(subject), options, **choices)


def _of_module(target: ModuleTarget, name: str, seed: int, protect: Sequence[str]) -> Network:
    target.check_scale()
    network = _of_target(target, name, seed, protect)
    if not target.has_loss:
        network.train_state.tracker.unmeasurable = NO_LOSS
    return network


def _of_target(target: Target, name: str, seed: int, protect: Sequence[str]) -> Network:
    """Fine-tuned on its own loss alone where it comes trained: nobody asked for a further term."""
    own = RegularizerConfig(enabled=bool(target.dense_training.steps))
    device = str(target.device)
    return Network.of(target, label=name, seed=seed, protect=protect, regularizer=own, device=device)


def _of_name(name: str, options: Mapping[str, Any], seed: int, protect: Sequence[str]) -> Network:
    """The first network of the target's pool, which ships or is cached for most."""
    return Network.load(CheckpointSpec(name, dict(options), 0, tuple(protect)), name)


def _refuse(given: Mapping[str, Any], why: str) -> None:
    if given:
        raise TypeError(f"{', '.join(given)}: {why}")
