"""Tune the hyperparameters of an algorithm with Optuna, on training networks only."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback

from prune_env.agents.evaluations import FILE_NAME, read_evaluations
from prune_env.agents.hyperparameters import check_hyperparams
from prune_env.agents.search_spaces import SEARCH_SPACES
from prune_env.agents.settings import load_hyperparams
from prune_env.agents.train import ENV_OPTIONS, EnvFactory, train_agent
from prune_env.agents.trials import HYPERPARAMS, PRUNERS, ask, give_back, open_study
from prune_env.open_sets import find
from prune_env.storage import canonical_json, expanded, write_atomically
from prune_env.validation import Range, check_value

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

ERROR = "error"
"""Attribute of a trial: why it failed."""
_TOO_MANY_FAILURES = 3
# How training with unfortunate hyperparameters ends: weights that are not finite, here or in another process.
_DIVERGED = (ValueError, EOFError, ConnectionError)


def tune_agent(
    algo: str,
    env_id: str,
    out: Path,
    *,
    env_options: Mapping[str, Any] | None = None,
    trials: int = 50,
    timesteps: int = 2048,
    n_envs: int | None = None,
    seed: int = 0,
    hyperparams: Mapping[str, Any] | None = None,
    storage: str | Path | None = None,
    study: str | None = None,
    pruner: str = "median",
    eval_every: int = 256,
    eval_episodes: int = 24,
    progress: bool = True,
    callbacks: Sequence[Callable[[Study, FrozenTrial], None]] = (),
) -> Path:
    """Tune an algorithm's hyperparameters and return the path of `best.yaml`, which `train_agent` takes.

    A trial trains an agent on networks of the training pool. Its value is the mean return of its last evaluation, on
    validation data of these networks. Held-out networks and test data are for benchmarks and never used. Several
    processes, on one or many machines, may work on the same study. A study that was interrupted goes on.

    Args:
        algo: Name of an algorithm with a search space, see `prune_env.agents.SEARCH_SPACES`.
        env_id: Id of the environment.
        out: Folder of the results: `best.yaml`, and the agent of every trial.
        env_options: Arguments of the environment, besides those of `train_agent`.
        trials: Trials of the study in all, those that are pruned among them.
        timesteps: Rounds of a trial.
        n_envs: Number of environments, as for `train_agent`.
        seed: Seed of the agents and of the draws.
        hyperparams: Hyperparameters that are not tuned.
        storage: A database as SQLAlchemy names it, such as "sqlite:///tune.db", or the path of a journal file; by
            default `study.journal` in `out`.
        study: Name of the study; by default algorithm and environment.
        pruner: Which trials are stopped early: "median", "halving" (successive halving) or "none".
        eval_every: Rounds between evaluations.
        eval_episodes: Episodes of each.
        progress: Whether to show the progress of each trial.
        callbacks: Called after each trial with study and trial, as by Optuna.

    Raises:
        ImportError: If Optuna is missing.
        ValueError: If an argument is unknown or out of range, the storage holds another study of that name, or three
            trials in a row fail.
    """
    for name, value in {"trials": trials, "timesteps": timesteps, "n_envs": n_envs}.items():
        if value is not None:
            check_value(name, value, int, Range(1))
    check_value("eval_every", eval_every, int, Range(1, timesteps, "[]"))
    check_value("eval_episodes", eval_episodes, int, Range(1))
    check_value("seed", seed, int, Range(0))
    _check_optuna()
    make_pruner = find("pruner", pruner, PRUNERS)
    fixed, options = dict(hyperparams or {}), {**ENV_OPTIONS, **(env_options or {})}
    settings = load_hyperparams(algo, env_id) | fixed
    check_hyperparams(algo, settings)
    find("search space", algo, SEARCH_SPACES)
    if options.get("split", "train") != "train":
        raise ValueError(f"agents are tuned on training networks only; leave out split={options['split']!r}")
    settings["n_envs"] = n_envs or settings.get("n_envs", 1)
    EnvFactory(env_id, options)()  # mistakes end here, before a study is begun
    out = expanded(out)
    config = json.loads(
        canonical_json(
            {
                "algorithm": algo,
                "env": env_id,
                "env_options": options,
                "timesteps": timesteps,
                "n_envs": settings["n_envs"],
                "seed": seed,
                "hyperparams": fixed,
                "pruner": pruner,
                "eval_every": eval_every,
                "eval_episodes": eval_episodes,
            }
        )
    )
    opened = open_study(
        out / "study.journal" if storage is None else storage,
        study or f"{algo} on {env_id}",
        make_pruner(timesteps, eval_every),
        config,
    )

    def run(trial: Trial) -> float | None:
        """The value of a trial; None if it was pruned."""
        sampled = _hyperparams(algo, trial, settings, fixed)
        trial.set_user_attr(HYPERPARAMS, sampled)
        report = _Report(trial)
        folder = out / "trials" / str(trial.number)
        train_agent(
            algo, env_id, folder, env_options=options, timesteps=timesteps, n_envs=settings["n_envs"], seed=seed,
            hyperparams=sampled, eval_every=eval_every, eval_episodes=eval_episodes, callback_after_eval=report,
            progress=progress,
        )  # fmt: skip
        return None if report.pruned else float(read_evaluations(folder / FILE_NAME).results[-1].mean())

    failed = 0
    while (trial := ask(opened, trials, seed)) is not None:
        finished, error = _finish(opened, trial, run)
        failed = failed + 1 if error else 0
        _write_best(opened, out / "best.yaml")
        for callback in callbacks:
            callback(opened, finished)
        if failed == _TOO_MANY_FAILURES:
            raise ValueError(
                f"{failed} trials in a row failed, the last with {finished.user_attrs.get(HYPERPARAMS)}: {error}"
            ) from error
    if not _write_best(opened, out / "best.yaml"):
        raise ValueError(f"no trial of the study {opened.study_name!r} is finished yet; other processes work on it")
    return out / "best.yaml"


def _check_optuna() -> None:
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise ImportError(f"tuning needs Optuna ({error}): pip install 'prune_env[tune]'") from error


def _hyperparams(algo: str, trial: Trial, settings: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
    """What is drawn, and what is not tuned; of the policy network's arguments, those that are not drawn stay."""
    drawn = SEARCH_SPACES[algo](trial, settings)
    if "policy_kwargs" in drawn:
        drawn["policy_kwargs"] = {**settings.get("policy_kwargs", {}), **drawn["policy_kwargs"]}
    return {**drawn, "n_envs": settings["n_envs"], **{name: value for name, value in fixed.items() if name != "n_envs"}}


def _finish(
    study: Study, trial: Trial, run: Callable[[Trial], float | None]
) -> tuple[FrozenTrial, BaseException | None]:
    """Run a trial and tell the study how it ended; one that is interrupted is given back."""
    from optuna.trial import TrialState

    try:
        value = run(trial)
    except _DIVERGED as error:
        trial.set_user_attr(ERROR, f"{type(error).__name__}: {error}")
        return study.tell(trial, state=TrialState.FAIL), error
    except BaseException:
        give_back(study, trial)
        raise
    if value is None:
        return study.tell(trial, state=TrialState.PRUNED), None
    return study.tell(trial, value), None


class _Report(BaseCallback):
    """Report each evaluation to a trial, and end the training if the pruner says so."""

    def __init__(self, trial: Trial):
        super().__init__()
        self._trial, self.pruned = trial, False

    def _on_step(self) -> bool:
        assert isinstance(self.parent, EvalCallback)
        self._trial.report(float(self.parent.last_mean_reward), self.num_timesteps)
        self.pruned = self._trial.should_prune()
        return not self.pruned


def _write_best(study: Study, path: Path) -> bool:
    """Write the hyperparameters of the best trial; whether there is one."""
    from optuna.trial import TrialState

    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not finished:
        return False
    best = study.best_trial
    header = (
        f"# Hyperparameters by prune-env tune: trial {best.number} of {len(study.get_trials(deepcopy=False))}, "
        f"mean return {best.value:.4g} on training networks.\n# Study: {study.study_name}\n"
    )
    write_atomically(path, (header + yaml.safe_dump(best.user_attrs[HYPERPARAMS], sort_keys=False)).encode())
    return True
