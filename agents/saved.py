"""A trained agent on disk: one zip of SB3's own format, to which a description in JSON is added.

SB3's part contains pickled Python objects: load only agents from sources that you trust. The description says how the
agent was trained and which environments it fits. It is read, and the checksums of the zip are verified, before anything
is unpickled. A zip that SB3 wrote alone has no description: it competes if its spaces fit.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from zipfile import BadZipFile, ZipFile

import numpy as np
from gymnasium import Space
from gymnasium.spaces import Box
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from prune_env.agents.action_scales import ACTION_SCALES
from prune_env.agents.algorithms import LOADABLE, algorithm_of, algorithm_of_data, loadable
from prune_env.agents.evaluations import FILE_NAME, read_evaluations
from prune_env.agents.normalisation import normalising, running_statistics, takes_raw_observations
from prune_env.benchmark import AgentTraining
from prune_env.envs import LogRatioAction, PruningEnv, ZooEnv
from prune_env.isolation import isolated
from prune_env.storage import DamagedFileError, canonical_json, check_archive, check_seal, sealed, write_atomically
from prune_env.validation import Range, check_value

_DESCRIPTION = "prune_env.json"  # its name in the zip
_DESCRIBED = ("algorithm", "groups", "columns", "normalisation", "made_by", "sha256")
_OF_SB3 = {"data", "policy.pth", "_stable_baselines3_version"}  # what SB3 writes into every zip


class SavedAgent:
    """An SB3 model that prunes in the environment's own units, like a heuristic.

    Args:
        path: Path of its zip, from `save_agent` or from SB3's `model.save`.
        env: The environment to act in, with the same groups and columns as the training environment.

    Attributes:
        training: How it was trained; None if the zip does not say.

    Raises:
        ValueError: If the file is missing or damaged, or the environment does not fit the agent.
    """

    privileged: ClassVar[bool] = False
    learned: ClassVar[bool] = True

    @isolated()  # SB3 seeds the global random states when it loads a model
    def __init__(self, path: Path, env: PruningEnv):
        description = find_description(path)
        if description is not None:
            _check_columns(path, description, env)
        self._model = _load(path, description)
        _check_observations(path, self._model, description, env)
        self._range = _action_range(path, self._model.action_space, env)
        self._max_ratio = env.max_ratio
        self._scale = "ratio" if description is None else description.get("actions", "ratio")
        self.training = None if description is None else _training(description["made_by"], path.parent)

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """Ratios in [0, max_ratio] for one observation [G * F] or a batch of them."""
        action, state = self._model.predict(observation, state, episode_start, deterministic)
        if self._range is None:
            return np.clip(action, 0.0, self._max_ratio), state
        low, high = self._range
        if self._scale != "ratio":
            return ACTION_SCALES[self._scale].to_ratios(action, self._max_ratio), state
        return (np.clip(action, low, high) - low) / (high - low) * self._max_ratio, state


def _load(path: Path, description: Mapping[str, Any] | None) -> BaseAlgorithm:
    try:
        name = algorithm_of_data(_data(path)) if description is None else description["algorithm"]
        return loadable(name).load(path, device="cpu")
    except Exception as error:  # unpickling another package's or version's objects may raise anything
        raise ValueError(f"{path} cannot be loaded by Stable-Baselines3: {error}") from error


def _data(path: Path) -> dict[str, Any]:
    with ZipFile(path) as archive:
        data = json.loads(archive.read("data"))
    if not isinstance(data, dict):
        raise ValueError("its data is no JSON object")
    return data


def _check_columns(path: Path, description: Mapping[str, Any], env: PruningEnv) -> None:
    columns, groups = [column.name for column in env.columns], len(env.group_names)
    if description["columns"] != columns or description["groups"] != groups:
        raise ValueError(
            f"{path} was trained on {description['groups']} groups with columns {description['columns']}; this "
            f"environment has {groups} groups with columns {columns}"
        )


def _check_observations(
    path: Path, model: BaseAlgorithm, description: Mapping[str, Any] | None, env: PruningEnv
) -> None:
    if model.observation_space.shape != env.observation_space.shape:
        raise ValueError(
            f"{path} reads observations of shape {model.observation_space.shape}; this environment gives "
            f"{env.observation_space.shape}, {len(env.columns)} columns of {len(env.group_names)} groups"
        )
    normalised = description["normalisation"] is not None if description else _seems_normalised(model, env)
    if normalised and not takes_raw_observations(model):
        raise ValueError(
            f"{path} was trained behind VecNormalize, whose statistics it does not hold: save the agent with "
            "prune_env.agents.save_agent(folder, model), which puts them into the zip"
        )


def _seems_normalised(model: BaseAlgorithm, env: PruningEnv) -> bool:
    """Whether the observations that SB3 left in a zip tell of a VecNormalize, which it does not name.

    `_last_obs` is what the model saw last, `_last_original_obs` the same before VecNormalize. Without one that is None,
    or the observation before, which off-policy algorithms keep: values of the same size. In doubt the answer is yes.
    """
    seen, raw = model._last_obs, model._last_original_obs
    if seen is None or raw is None:
        return False
    seen, raw = np.asarray(seen), np.asarray(raw)
    if np.array_equal(seen, raw):
        return False
    inside = all(env.observation_space.contains(observation) for observation in seen)
    near = np.linalg.norm(seen - raw) <= 0.5 * np.linalg.norm(raw)
    return not (isinstance(model, OffPolicyAlgorithm) and inside and near)


def _action_range(path: Path, space: Space, env: PruningEnv) -> tuple[np.ndarray, np.ndarray] | None:
    """The ends [G] of the range that stands for ratios from 0 to max_ratio; None for an agent that acts in ratios."""
    shape = (len(env.group_names),)
    if not isinstance(space, Box) or space.shape != shape or not np.isfinite([space.low, space.high]).all():
        raise ValueError(f"{path} acts in {space}; this environment needs a finite Box of shape {shape}")
    if (space.low >= space.high).any():
        raise ValueError(f"{path} acts in {space}, whose ends do not differ")
    if not ((space.low == 0).all() and (space.high < 1).all()):
        return space.low, space.high
    if space.high.max() > env.max_ratio + 1e-6:
        raise ValueError(
            f"{path} acts in ratios up to {space.high.max():.6g}; this environment takes at most {env.max_ratio}: give "
            "it the max_ratio of the training environment"
        )
    return None


def load_agent(path: Path, env: PruningEnv) -> SavedAgent:
    """Load a saved agent as a policy for `env`; benchmarks load `.zip` files by it."""
    return SavedAgent(path, env)


def save_agent(
    folder: Path,
    model: BaseAlgorithm,
    env: PruningEnv | ZooEnv | None = None,
    normaliser: VecNormalize | None = None,
    made_by: Mapping[str, Any] | None = None,
) -> Path:
    """Write `model.zip` into a folder, atomically; returns its path.

    Both `compare` and SB3's own loader take it. If a VecNormalize normalised the observations, its statistics become
    part of the policy network, so that the loaded model takes raw observations.

    Args:
        folder: Folder of the file.
        model: The trained model, of an algorithm of SB3 or sb3-contrib.
        env: The environment that it was trained in; by default found behind the model's own.
        normaliser: The wrapper that normalised its observations; by default the model's own, if there is one.
        made_by: How it was trained, for the report of a benchmark; by default what model and environment know.

    Raises:
        ValueError: If the algorithm is unknown, or the model has no environment and none is given.
    """
    env = env or _environment_of(model)
    normaliser = normaliser or model.get_vec_normalize_env()
    made_by = dict(made_by or {"algorithm": algorithm_of(model), **_known_of(model, env)})
    description = {
        "algorithm": made_by["algorithm"],
        "groups": len(env.group_names),
        "columns": [column.name for column in env.columns],
        "normalisation": _statistics(normaliser),
        "actions": _scale_of(model),
        "made_by": made_by,
    }
    content = io.BytesIO()
    with normalising(model, normaliser):
        model.save(content)
    with ZipFile(content, "a") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
        described = sealed({**description, "sha256": {name: _sha256(member) for name, member in members.items()}})
        archive.writestr(_DESCRIPTION, json.dumps(described))
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "model.zip", content.getvalue())
    return folder / "model.zip"


def _environment_of(model: BaseAlgorithm) -> PruningEnv | ZooEnv:
    venv = model.get_env()
    env = None if venv is None else venv.get_attr("unwrapped", 0)[0]
    if not isinstance(env, (PruningEnv, ZooEnv)):
        raise ValueError(
            f"the model's environment is {env}, no PruningEnv: give the one that it was trained in, env=..."
        )
    return env


def _scale_of(model: BaseAlgorithm) -> str:
    """The scale of the model's actions, from the wrapper around its environment."""
    venv = model.get_env()
    log = venv is not None and venv.env_is_wrapped(LogRatioAction, 0)[0]
    return "log-ratio" if log else "ratio"


def _known_of(model: BaseAlgorithm, env: PruningEnv | ZooEnv) -> dict[str, Any]:
    known: dict[str, Any] = {"timesteps": model.num_timesteps}
    if model.seed is not None:
        known["seed"] = model.seed
    if env.spec is not None:
        options = {name: value for name, value in env.spec.kwargs.items() if name not in ("env_id", "render_mode")}
        known |= {"env": env.spec.id, "env_options": json.loads(canonical_json(options))}
    return known


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_description(path: Path) -> dict[str, Any]:
    """The description of an agent that `save_agent` wrote, after checking the file as a whole; nothing is unpickled.

    Raises:
        ValueError: If the file is missing, damaged, or was not saved here.
    """
    if (description := find_description(path)) is None:
        raise ValueError(f"{path} was not saved by prune_env: it lacks {_DESCRIPTION}")
    return description


def find_description(path: Path) -> dict[str, Any] | None:
    """The same, or None for a whole zip that SB3 wrote alone.

    Raises:
        ValueError: If the file is missing or damaged.
    """
    if not path.is_file():
        raise ValueError(f"there is no saved agent {path}")
    try:
        with ZipFile(path) as archive:
            check_archive(archive, path.stat().st_size)
            members = {name: archive.read(name) for name in archive.namelist()}
        if _DESCRIPTION not in members:  # a truncated zip may look whole: it ends in an inner one, of torch's
            if set(members) >= _OF_SB3:
                return None
            raise ValueError(f"or was not saved by prune_env or SB3: it lacks {_DESCRIPTION}")
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
    check_value("algorithm", description["algorithm"], str, tuple(LOADABLE))
    check_value("actions", description.get("actions", "ratio"), str, tuple(ACTION_SCALES))
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
    saved, running = description["normalisation"], running_statistics(normaliser)
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
    if normaliser is None or not normaliser.norm_obs:
        return None
    running = running_statistics(normaliser)
    return {"mean": running.mean.tolist(), "variance": running.var.tolist(), "count": float(running.count)}
