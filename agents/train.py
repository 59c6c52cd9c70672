"""Train a Stable-Baselines3 agent to prune: vectorised environments, evaluation, checkpoints, resume."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecMonitor, VecNormalize

import prune_env
from prune_env.agents.action_scales import ACTION_SCALES
from prune_env.agents.behaviour_cloning import clone_behaviour
from prune_env.agents.callbacks import CALIBRATION_RESETS, Checkpoints, ProgressBar, PruningScalars, evaluation
from prune_env.agents.hyperparameters import check_hyperparams, make_algorithm, rounds_per_update
from prune_env.agents.normalisation import without_normalisation
from prune_env.agents.policies import Grouped
from prune_env.agents.saved import read_description, restore_normaliser, save_agent
from prune_env.agents.settings import algorithm, load_hyperparams
from prune_env.agents.trackers import tracking
from prune_env.agents.universal import export_policy
from prune_env.dense.pool import prepare
from prune_env.envs import PruningEnv, ZooEnv
from prune_env.parallel import cores, interrupts_blocked, single_threaded
from prune_env.storage import DamagedFileError, canonical_json, expanded, read_sealed, write_sealed
from prune_env.validation import Range, check_value

ENV_OPTIONS: Mapping[str, Any] = {"pool": 32, "rounds": 1, "budget": [0.3, 0.7]}
"""What an agent is trained on unless arguments of the environment say otherwise; the same on the command line."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EnvFactory:
    """Makes an environment whose actions lie in [-1, 1]; picklable, so that other processes can call it."""

    env_id: str
    options: Mapping[str, Any]
    actions: str = "ratio"

    def __call__(self) -> gym.Env:
        """Make the environment, and limit its process to one torch thread."""
        single_threaded()
        prune_env.register_environments()
        env = gym.make(self.env_id, disable_env_checker=True, **self.options)
        return ACTION_SCALES[self.actions].wrap(env)


def train_agent(
    algo: str,
    env_id: str,
    out: Path,
    *,
    env_options: Mapping[str, Any] | None = None,
    timesteps: int | None = None,
    n_envs: int | None = None,
    seed: int = 0,
    hyperparams: Mapping[str, Any] | None = None,
    eval_every: int = 1024,
    eval_episodes: int = 24,
    trackers: Sequence[str] = (),
    callbacks: Sequence[BaseCallback] = (),
    callback_after_eval: BaseCallback | None = None,
    progress: bool = True,
) -> Path:
    """Train an agent and return the path of its `model.zip`; an interrupted run resumes from its last checkpoint.

    A policy over groups without position embeddings is also written as `policy.safetensors`, which prunes networks of
    any number of groups; see `UniversalPolicy`.

    Args:
        algo: Name of an algorithm, see `prune_env.agents.ALGORITHMS`.
        env_id: Id of the environment.
        out: Folder of the run: model, learning curve (`evaluations.npz`) and TensorBoard logs.
        env_options: Arguments of the environment, besides `ENV_OPTIONS`.
        timesteps: Rounds in all environments together; by default the hyperparameters' `n_timesteps`. Training
            ends with an update, so they are rounded up to whole updates, with a warning in the log.
        n_envs: Number of environments, each in its own process if there are several; by default the hyperparameters'.
        seed: Seed of the agent and of the environments.
        hyperparams: Hyperparameters that replace those of the YAML file: arguments of the algorithm's constructor, and
            `n_envs`, `n_timesteps`, `normalize`, `noise_type` and `noise_std` as in rl-zoo. `actions` is "ratio" or
            "log-ratio", the scale of actions; `behaviour_cloning` names a plain policy to warm-start a `GroupPolicy`
            from.
        eval_every: Rounds between evaluations on training networks, and between checkpoints.
        eval_episodes: Episodes of each evaluation.
        trackers: Experiment trackers with their options, e.g. "wandb:project=pruning", see `prune_env.agents.TRACKERS`.
        callbacks: Further callbacks of SB3.
        callback_after_eval: Called after each evaluation, as by SB3's `EvalCallback`, which is its `parent`.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If a name is unknown, a hyperparameter is unknown or out of range, or `out` holds a run with another
            configuration.
        ImportError: If the package of a tracker is missing.
    """
    for name, value in {"timesteps": timesteps, "n_envs": n_envs, "eval_every": eval_every}.items():
        if value is not None:
            check_value(name, value, int, Range(1))
    check_value("seed", seed, int, Range(0))
    out = expanded(out)
    settings = load_hyperparams(algo, env_id) | dict(hyperparams or {})
    check_hyperparams(algo, settings)  # and the algorithm's name, before anything is written
    n_envs = n_envs or settings.get("n_envs", 1)
    timesteps = _whole_updates(algo, settings, timesteps or settings.get("n_timesteps", 10_000), n_envs)
    options = {**ENV_OPTIONS, **(env_options or {})}
    described = {
        "algorithm": algo,
        "env": env_id,
        "env_options": options,
        "n_envs": n_envs,
        "seed": seed,
        "hyperparams": {k: v for k, v in settings.items() if k not in ("n_envs", "n_timesteps")},
    }
    config: dict[str, Any] = json.loads(canonical_json(described))
    _refuse_other(out, config)
    tracked = [tracking(text, config, out) for text in trackers]
    started, earlier = time.perf_counter(), _seconds_so_far(out)
    make = EnvFactory(env_id, options, settings.get("actions", "ratio"))
    single: PruningEnv | ZooEnv = make().unwrapped  # type: ignore[assignment]
    prepare(single.pools, jobs=cores())
    normalise = settings.get("normalize", True)
    with ExitStack() as open_environments:
        venv = open_environments.enter_context(closing(_vectorised(make, n_envs, seed, normalise)))
        eval_venv = open_environments.enter_context(closing(_vectorised(make, 1, seed + 1, normalise, training=False)))
        normaliser = venv if isinstance(venv, VecNormalize) else None
        model = _make_or_resume(algo, venv, settings, out, seed, single)
        write_sealed(out / "config.json", config)  # last, so that errors leave no folder
        config["versions"] = {"prune_env": prune_env.__version__, "torch": torch.__version__}

        def save() -> None:
            seconds = round(earlier + time.perf_counter() - started, 1)
            made_by = {**config, "timesteps": model.num_timesteps, "seconds": seconds}
            save_agent(out, model, single, normaliser, made_by)
            if isinstance(model.policy, Grouped) and model.policy.fits_any_network:
                export_policy(out / "policy", model, single, made_by, make.actions)

        left, every = timesteps - model.num_timesteps, max(eval_every // n_envs, 1)
        checkpoints = Checkpoints(save, eval_every)
        used: list[BaseCallback] = [
            PruningScalars(single.group_names),
            evaluation(eval_venv, out, every, eval_episodes, seed + 1, model.num_timesteps, callback_after_eval),
            checkpoints,
            *callbacks,
        ]
        if progress:
            bar = ProgressBar(timesteps, f"{algo} on {env_id}")
            used.append(bar)
            open_environments.callback(bar.close)
        if left > 0:
            used += [open_environments.enter_context(tracker) for tracker in tracked]
            with checkpoints.saving_interruptions():
                model.learn(left, callback=CallbackList(used), tb_log_name=algo, reset_num_timesteps=False)
        save()
    return out / "model.zip"


def _whole_updates(algo: str, settings: Mapping[str, Any], timesteps: int, n_envs: int) -> int:
    """Timesteps rounded up to whole updates, as SB3 trains no other number of them."""
    unit = rounds_per_update(algo, settings, n_envs)
    rounded = -(-timesteps // unit) * unit
    if rounded != timesteps:
        _log.warning(
            "timesteps=%d is rounded up to %d: with %d environments %s is updated every %d rounds",
            *(timesteps, rounded, n_envs, algo, unit),
        )
    return rounded


def _refuse_other(out: Path, config: dict[str, Any]) -> None:
    """Raise a ValueError if `out` is the folder of another configuration: its file says so, or else its agent."""
    path, agent = out / "config.json", out / "model.zip"
    held: dict[str, Any] | None = None
    if path.is_file():
        try:
            held = read_sealed(path, f"delete it: the agent beside it, {agent.name}, says the same")
        except DamagedFileError as error:
            if not agent.is_file():
                raise
            _log.warning("%s", error)
    if held is None and agent.is_file():
        made_by = read_description(agent)["made_by"]
        held = {name: value for name, value in made_by.items() if name in config}
    if held is not None and held != config:
        raise ValueError(
            f"{out} holds a run with another configuration ({path}): {_difference(held, config)}; choose another "
            "folder, or delete it to start anew"
        )


def _difference(held: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """What another configuration says where it differs, with the parts of `env_options` and `hyperparams` by name."""
    flat = [
        {
            part if name == part else f"{name}.{part}": value
            for name, group in settings.items()
            for part, value in (group.items() if isinstance(group, dict) else [(name, group)])
        }
        for settings in (held, config)
    ]
    missing = "nothing"
    return ", ".join(
        f"{name} is {flat[0].get(name, missing)} there, {flat[1].get(name, missing)} here"
        for name in dict.fromkeys([*flat[0], *flat[1]])
        if flat[0].get(name, missing) != flat[1].get(name, missing)
    )


def _seconds_so_far(out: Path) -> float:
    """Training time of the runs that this one resumes [s]."""
    path = out / "model.zip"
    return float(read_description(path)["made_by"].get("seconds", 0.0)) if path.is_file() else 0.0


def _vectorised(make: EnvFactory, n_envs: int, seed: int, normalise: bool, training: bool = True) -> VecEnv:
    venv: VecEnv
    if n_envs == 1:
        venv = DummyVecEnv([make])
    else:
        with interrupts_blocked():
            venv = SubprocVecEnv([make] * n_envs, start_method="spawn")
    venv.seed(seed)
    venv = VecMonitor(venv)
    return VecNormalize(venv, training=training, norm_reward=False) if normalise else venv


def _make_or_resume(
    algo: str, venv: VecEnv, settings: dict[str, Any], out: Path, seed: int, env: PruningEnv | ZooEnv
) -> BaseAlgorithm:
    path, logs = out / "model.zip", str(out / "tensorboard")
    normaliser = venv if isinstance(venv, VecNormalize) else None
    if path.is_file():
        description = read_description(path)
        if normaliser is not None:
            restore_normaliser(normaliser, description)
        model = algorithm(algo).load(path, env=venv, device="cpu", tensorboard_log=logs)
        without_normalisation(model)  # VecNormalize goes on with it
        _log.info("resuming %s at step %d", path, model.num_timesteps)
        # The environments start new episodes: with the old seed they would repeat those of the earlier run.
        venv.seed(seed + model.num_timesteps)
        return model
    model = make_algorithm(algo, venv, settings, seed=seed, tensorboard_log=logs)
    if isinstance(model.policy, Grouped):
        env.reset(seed=seed)
        observations = torch.as_tensor(np.stack([env.reset()[0] for _ in range(CALIBRATION_RESETS)]))
        model.policy.calibrate(observations, env.columns)
        if heuristic := settings.get("behaviour_cloning"):
            if isinstance(env, ZooEnv):
                raise ValueError("behaviour_cloning needs networks of one kind; leave it out for the zoo")
            error = clone_behaviour(model.policy, env, heuristic, observations, settings.get("actions", "ratio"))
            _log.info("warm start from %s, RMSE %.3f of the actions' range", heuristic, error)
    return model
