"""`prune-env tune`: hyperparameters of agents, temperatures of heuristics."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prune_env.cli.shared import (
    Hyperparameters,
    Name,
    Options,
    check_at_least,
    check_env,
    env_options,
    out_folder,
    parse_hyperparameters,
    processes,
    say,
    say_whose,
)
from prune_env.parallel import single_threaded

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial


def tune(
    algo: Name,
    env: str = "PruneEnv/Autoencoder-v1",
    out: Path | None = None,
    trials: int = 50,
    timesteps: int = 2048,
    pool: int = 32,
    rounds: int = 1,
    budget: tuple[float, ...] = (0.3, 0.7),
    n_envs: int | None = None,
    seed: int = 0,
    storage: str | None = None,
    study: str | None = None,
    pruner: str = "median",
    eval_every: int = 256,
    eval_episodes: int = 24,
    device: str | None = None,
    hyperparameters: Hyperparameters = (),
    options: Options = (),
) -> None:
    """Tune the hyperparameters of an algorithm with Optuna, on training networks only; held-out ones are never used.

    With the name of an importance heuristic, its temperature is chosen on the training networks instead, among nine, or
    TRIALS if that is less; `prune-env bench --policies gradient:@OUT/best.yaml` lets it compete. Of a pair of budgets,
    four from the lower to the higher are used then, and what belongs to agents is not.

    Run the same command several times at once, on one machine or many that share the storage, and the processes work on
    one study. Run it again to go on after an interruption. The best hyperparameters are in OUT/best.yaml:
    `prune-env train ALGO -p @OUT/best.yaml`.

    Args:
        algo: Name of an algorithm, see `prune-env list algorithms`, or of a heuristic with a temperature.
        env: Id of the environment.
        out: Folder of best.yaml and of each trial's agent; by default runs/tune/ALGO.
        trials: Trials of the study in all.
        timesteps: Networks cut in each trial.
        pool: Dense networks to train and evaluate on.
        rounds: Rounds of an episode.
        budget: Sparsity to end at: a number, a pair to draw from uniformly, or a longer list to choose from.
        n_envs: Environments in parallel; by default what the algorithm's YAML file says.
        seed: Of the agents, and of what is drawn.
        storage: A database, e.g. sqlite:///tune.db, or the path of a journal file; by default OUT/study.journal.
        study: Name of the study in the storage; by default algorithm and environment.
        pruner: Which trials are stopped early: median, halving (successive halving) or none.
        eval_every: Networks cut between evaluations, after each of which a trial may be stopped.
        eval_episodes: Episodes of each evaluation.
        device: Where networks are, e.g. cuda; agents, which are small, stay on the CPU.
        hyperparameters: What is not tuned, e.g. gamma=0.9, or @FILE.yaml.
        options: Further arguments of the environment and of the target, e.g. steps_per_round=60.
    """
    check_env(env)
    check_at_least(1, trials=trials, timesteps=timesteps, pool=pool, rounds=rounds, n_envs=n_envs)
    check_at_least(1, eval_every=eval_every, eval_episodes=eval_episodes)
    check_at_least(0, seed=seed)
    chosen = env_options(options, device, pool=pool, rounds=rounds, budget=list(budget))
    fixed = parse_hyperparameters(hyperparameters)

    from prune_env.agents import SEARCH_SPACES, tune_agent
    from prune_env.benchmark import known_policies

    if algo not in SEARCH_SPACES and algo.partition(":")[0] in known_policies():
        _tune_heuristic(algo, env, out, trials, pool, budget, env_options(options, device, rounds=rounds))
        return

    say_whose(algo, options)
    single_threaded()
    folder = out_folder(out or Path("runs") / "tune" / algo)
    path = tune_agent(
        algo, env, folder, env_options=chosen, trials=trials, timesteps=timesteps,
        n_envs=n_envs, seed=seed, hyperparams=fixed, storage=storage, study=study, pruner=pruner, eval_every=eval_every,
        eval_episodes=eval_episodes, callbacks=[_say_how_it_ended],
    )  # fmt: skip
    say(f"best hyperparameters: {path}\n{path.read_text()}")
    say(f"train: {shlex.join(['prune-env', 'train', algo, '--env', env, '-p', f'@{path}'])}", style="dim")


def _tune_heuristic(
    policy: str, env: str, out: Path | None, trials: int, pool: int, budget: Sequence[float], chosen: Mapping[str, Any]
) -> None:
    import numpy as np

    from prune_env.baselines import tune_heuristic
    from prune_env.baselines.tuning import TEMPERATURES

    single_threaded()
    folder = out_folder(out or Path("runs") / "tune" / policy.replace(":", "-"))
    temperatures = (
        np.geomspace(TEMPERATURES[0], TEMPERATURES[-1], trials) if trials < len(TEMPERATURES) else TEMPERATURES
    )
    budgets = np.linspace(budget[0], budget[1], 4).tolist() if len(budget) == 2 else budget
    path = tune_heuristic(
        policy, env, folder, temperatures=[float(f"{t:.3g}") for t in temperatures], networks=pool,
        budgets=[round(b, 6) for b in budgets], env_options=chosen, jobs=processes(None),
    )  # fmt: skip
    say(f"best temperature: {path}\n{path.read_text()}")
    name = policy.partition(":")[0]
    say(
        f"compete: {shlex.join(['prune-env', 'bench', '--env', env, '--policies', name, f'{name}:@{path}'])}",
        style="dim",
    )


def _say_how_it_ended(study: Study, trial: FrozenTrial) -> None:
    from optuna.trial import TrialState

    ended = trial.state.name.lower()
    value = "" if trial.value is None else f", mean return {trial.value:.4g}"
    if trial.state == TrialState.PRUNED:
        ended = f"pruned after {trial.last_step} cuts"
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    best = f"; best is trial {study.best_trial.number}, {study.best_value:.4g}" if complete else ""
    say(f"trial {trial.number}: {ended}{value}{best}")
