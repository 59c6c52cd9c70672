"""A trained agent on disk: one zip of SB3's own format, to which a description in JSON is added.

SB3's part contains pickled Python objects: load only agents from sources that you trust. The description says how the
agent was trained and which environments it fits, and holds the statistics that normalise its observations. It is read,
and the checksums of the zip are verified, before anything is unpickled.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any, ClassVar
from zipfile import BadZipFile, ZipFile

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from prune_env.agents.evaluations import FILE_NAME, read_evaluations
from prune_env.agents.settings import ALGORITHMS, algorithm
from prune_env.benchmark import AgentTraining
from prune_env.envs import PruningEnv
from prune_env.isolation import isolated
from prune_env.storage import DamagedFileError, check_archive, check_seal, sealed, write_atomically
from prune_env.validation import Range, check_value

_EPSILON = 1e-8
_CLIP = 10.0
_DESCRIPTION = "prune_env.json"  # its name in the zip
_DESCRIBED = ("algorithm", "groups", "columns", "normalisation", "made_by", "sha256")


class SavedAgent:
    """An SB3 model that prunes in the environment's own units, like a heuristic.

    Args:
        path: Path of its zip.
        env: The environment to act in, with the same groups and columns as the training environment.

    Attributes:
        training: How it was trained; None for a model that `train_agent` did not train.

    Raises:
        ValueError: If the file is missing or damaged, or the environment does not fit the agent.
    """

    privileged: ClassVar[bool] = False
    learned: ClassVar[bool] = True

    @isolated()  # SB3 seeds the global random states when it loads a model
    def __init__(self, path: Path, env: PruningEnv):
        description = read_description(path)
        columns, groups = [column.name for column in env.columns], len(env.group_names)
        if description["columns"] != columns or description["groups"] != groups:
            raise ValueError(
                f"{path} was trained on {description['groups']} groups with columns {description['columns']}; this "
                f"environment has {groups} groups with columns {columns}"
            )
        self._model = algorithm(description["algorithm"]).load(path, device="cpu")
        normalisation = description["normalisation"]
        self._mean = np.array(normalisation["mean"]) if normalisation else None
        self._scale = np.sqrt(np.array(normalisation["variance"]) + _EPSILON) if normalisation else None
        self._max_ratio = env.max_ratio
        self.training = _training(description["made_by"], path.parent)

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """Ratios in [0, max_ratio] for one observation [G * F] or a batch of them."""
        if self._mean is not None:
            observation = np.clip((observation - self._mean) / self._scale, -_CLIP, _CLIP).astype(np.float32)
        action, state = self._model.predict(observation, state, episode_start, deterministic)
        return (np.clip(action, -1.0, 1.0) + 1.0) / 2.0 * self._max_ratio, state


def load_agent(path: Path, env: PruningEnv) -> SavedAgent:
    """Load a saved agent as a policy for `env`; benchmarks load `.zip` files by it."""
    return SavedAgent(path, env)


def save_agent(
    folder: Path, model: BaseAlgorithm, env: PruningEnv, normaliser: VecNormalize | None, made_by: dict[str, Any]
) -> Path:
    """Write `model.zip` into a folder, atomically; returns its path.

    Args:
        folder: Folder of the file.
        model: The trained model, which acts in [-1, 1].
        env: The environment that it was trained in.
        normaliser: The wrapper that normalised its observations, or None.
        made_by: `{"algorithm": NAME}` and, for the report of a benchmark, the configuration of the training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    description = {
        "algorithm": made_by["algorithm"],
        "groups": len(env.group_names),
        "columns": [column.name for column in env.columns],
        "normalisation": _statistics(normaliser),
        "made_by": made_by,
    }
    content = io.BytesIO()
    model.save(content)
    with ZipFile(content, "a") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
        described = sealed({**description, "sha256": {name: _sha256(member) for name, member in members.items()}})
        archive.writestr(_DESCRIPTION, json.dumps(described))
    write_atomically(folder / "model.zip", content.getvalue())
    return folder / "model.zip"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_description(path: Path) -> dict[str, Any]:
    """The description of a saved agent, after checking the file as a whole; nothing is unpickled.

    Raises:
        ValueError: If the file is missing, damaged, or was not saved here.
    """
    if not path.is_file():
        raise ValueError(f"there is no saved agent {path}")
    try:
        with ZipFile(path) as archive:
            check_archive(archive, path.stat().st_size)
            members = {name: archive.read(name) for name in archive.namelist()}
        if _DESCRIPTION not in members:  # a truncated zip may look whole: it ends in an inner one, of torch's
            raise ValueError(f"or was not saved by prune_env: it lacks {_DESCRIPTION}")
        description = check_seal(json.loads(members.pop(_DESCRIPTION)))
        _check_description(description)
        if description["sha256"] != {name: _sha256(member) for name, member in members.items()}:
            raise ValueError("its members are not those that were saved together")
    except (BadZipFile, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}); train the agent again") from error
    return description


def _check_description(description: dict[str, Any]) -> None:
    if missing := sorted(set(_DESCRIBED) - set(description)):
        raise ValueError(f"it lacks {', '.join(missing)} in its {_DESCRIPTION}")
    groups, columns, said = description["groups"], description["columns"], description["normalisation"]
    check_value("algorithm", description["algorithm"], str, tuple(ALGORITHMS))
    check_value("groups", groups, int, Range(1))
    if not (isinstance(columns, list) and columns):
        raise ValueError(f"columns must be a list of names, got {columns!r}")
    for column in columns:
        check_value("columns", column, str)
    if not isinstance(description["made_by"], dict):
        raise ValueError(f"made_by must be a dict, got {description['made_by']!r}")
    if said is None:
        return
    check_value("normalisation's count", said["count"], float, Range(0))
    for name, allowed in (("mean", Range(-math.inf, ends="()")), ("variance", Range(0))):
        if not (isinstance(said[name], list) and len(said[name]) == groups * len(columns)):
            raise ValueError(f"normalisation's {name} must be {groups * len(columns)} numbers")
        for number in said[name]:
            check_value(f"normalisation's {name}", number, float, allowed)


def restore_normaliser(normaliser: VecNormalize, description: dict[str, Any]) -> None:
    """Put saved statistics back into a VecNormalize, to resume training."""
    saved, running = description["normalisation"], _running(normaliser)
    running.mean, running.var, running.count = np.array(saved["mean"]), np.array(saved["variance"]), saved["count"]


def _training(made_by: dict[str, Any], folder: Path) -> AgentTraining | None:
    if not {"algorithm", "env", "seed", "timesteps"} <= set(made_by):
        return None
    try:
        curve = read_evaluations(folder / FILE_NAME)
    except (OSError, DamagedFileError):  # the agent acts as well without its curve
        evaluated_at, returns = [], []
    else:
        evaluated_at, returns = curve.timesteps.tolist(), curve.results.astype(float).tolist()
    return AgentTraining(
        algorithm=made_by["algorithm"],
        env=made_by["env"],
        env_options=made_by.get("env_options", {}),
        hyperparameters={**made_by.get("hyperparams", {}), "n_envs": made_by.get("n_envs", 1)},
        seed=made_by["seed"],
        cuts=made_by["timesteps"],
        seconds=made_by.get("seconds"),
        evaluated_at=evaluated_at,
        returns=returns,
    )


def _statistics(normaliser: VecNormalize | None) -> dict[str, Any] | None:
    if normaliser is None:
        return None
    running = _running(normaliser)
    return {"mean": running.mean.tolist(), "variance": running.var.tolist(), "count": float(running.count)}


def _running(normaliser: VecNormalize) -> RunningMeanStd:
    assert isinstance(normaliser.obs_rms, RunningMeanStd)  # a dict only for dict observations, which there are none of
    return normaliser.obs_rms
