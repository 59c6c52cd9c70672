"""`prune-env train`: agents."""

from __future__ import annotations

from pathlib import Path

from prune_env.cli.shared import (
    Hyperparameters,
    Name,
    Options,
    check_at_least,
    check_env,
    env_options,
    out_folder,
    parse_hyperparameters,
    say,
    say_whose,
)
from prune_env.envs import ZOO
from prune_env.parallel import single_threaded


def train(
    algo: Name,
    env: str = "PruneEnv/Autoencoder-v1",
    out: Path | None = None,
    timesteps: int | None = None,
    pool: int = 32,
    rounds: int = 1,
    budget: tuple[float, ...] = (0.3, 0.7),
    n_envs: int | None = None,
    seed: int = 0,
    device: str | None = None,
    track: tuple[str, ...] = (),
    hyperparameters: Hyperparameters = (),
    options: Options = (),
) -> None:
    """Train a pruning agent; run the same command again to go on after a kill.

    Args:
        algo: Name of an algorithm, see `prune-env list algorithms`.
        env: Id of the environment.
        out: Folder of the run; by default runs/ALGO.
        timesteps: Networks cut in all; by default what the algorithm's YAML file says. Rounded up to whole updates.
        pool: Dense networks to train on.
        rounds: Rounds of an episode.
        budget: Sparsity to end at: a number, a pair to draw from uniformly, or a longer list to choose from.
        n_envs: Environments in parallel; by default what the algorithm's YAML file says.
        seed: Of the agent.
        device: Where networks are, e.g. cuda; the agent, which is small, stays on the CPU.
        track: Experiment trackers besides TensorBoard, with options, e.g. wandb:project=pruning.
        hyperparameters: Of the algorithm, e.g. learning_rate=1e-3 gamma=0.9, or @FILE.yaml, such as `tune` writes.
        options: Further arguments of the environment and of the target, e.g. steps_per_round=60 observation=importance.
    """
    if env != ZOO:
        check_env(env)
    check_at_least(1, timesteps=timesteps, pool=pool, rounds=rounds, n_envs=n_envs)
    check_at_least(0, seed=seed)
    chosen = env_options(options, device, pool=pool, rounds=rounds, budget=list(budget))
    hyperparams = parse_hyperparameters(hyperparameters)

    from prune_env.agents import train_agent

    say_whose(algo, options)
    single_threaded()
    folder = out_folder(out or Path("runs") / algo)
    path = train_agent(
        algo, env, folder, env_options=chosen, timesteps=timesteps, n_envs=n_envs, seed=seed, hyperparams=hyperparams,
        trackers=track,
    )  # fmt: skip
    say(f"agent: {path}\nlearning curve: tensorboard --logdir {folder / 'tensorboard'}")
    say(f"competition: prune-env bench --policies uniform fisher {path} --env {env}", style="dim")
