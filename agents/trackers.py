"""Experiment trackers, by the callbacks that they make for Stable-Baselines3."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from prune_env.open_sets import UnknownOptionError, find, split_options
from prune_env.storage import config_hash

Tracker = Callable[..., AbstractContextManager[BaseCallback]]
"""From a training's configuration, its folder and options to SB3's callback; mistakes raise before it is entered."""


def weights_and_biases(config: Mapping[str, Any], folder: Path, **options: Any) -> AbstractContextManager[BaseCallback]:
    """Log a training to Weights & Biases: its configuration, and whatever goes to TensorBoard.

    Args:
        config: Configuration of the training.
        folder: Its folder; the same configuration in the same folder goes on in the same run.
        **options: Of `wandb.init`, e.g. project, entity, group, name, tags, mode.

    Raises:
        ImportError: If wandb is not installed.
        ValueError: If `wandb.init` has no such option.
    """
    try:
        import wandb
        from wandb.integration.sb3 import WandbCallback
    except ImportError as error:
        raise ImportError(f"the tracker wandb needs its package ({error}): pip install 'prune_env[wandb]'") from error
    known = inspect.signature(wandb.init).parameters
    for name in options:
        if name not in known:
            raise UnknownOptionError.of("tracker wandb", name, known)
    run_id = config_hash({"config": dict(config), "folder": str(folder.resolve())})
    given = {"project": "prune_env", "id": run_id, "resume": "allow", "dir": str(folder), **options}

    @contextmanager
    def run() -> Iterator[BaseCallback]:
        begun = wandb.init(config=dict(config), sync_tensorboard=True, **given)
        try:
            yield WandbCallback()
        except BaseException:
            begun.finish(exit_code=1)
            raise
        begun.finish()

    return run()


TRACKERS: dict[str, Tracker] = {"wandb": weights_and_biases}
"""Name -> tracker. TensorBoard is always on."""


def tracking(text: str, config: Mapping[str, Any], folder: Path) -> AbstractContextManager[BaseCallback]:
    """The tracker that `NAME` or `NAME:KEY=VALUE,...` names; it begins when the context is entered.

    Raises:
        ValueError: If it is unknown, does not read like this, or has no such option.
        ImportError: If its package is missing.
    """
    name, options = split_options(text)
    return find("tracker", name, TRACKERS)(config, folder, **options)
