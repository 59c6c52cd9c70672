"""`prune-env eval`, `bench` and `report`: policies on held-out networks."""

from __future__ import annotations

from pathlib import Path

import tyro

from prune_env.cli.shared import (
    CommandFailedError,
    Name,
    Options,
    check_at_least,
    check_env,
    command_line,
    console,
    env_options,
    processes,
    say,
)
from prune_env.parallel import check_engine, single_threaded
from prune_env.storage import expanded, write_atomically

ENV = "PruneEnv/Autoencoder-v0"
BUDGETS = (0.3, 0.5, 0.7, 0.8, 0.9)
COMPETITORS = (
    *("none", "random", "uniform", "l1", "l2", "gradient", "fisher", "bayes", "combined", "product"),
    *("global-l2", "global-l2-rel", "global-fisher", "global-fisher-rel"),
)
"""What an agent competes with by default: policies that need no trials."""
DEPGRAPH = ("depgraph-global", "depgraph-local")


def evaluate(
    model: Name,
    env: str | None = None,
    out: Path | None = None,
    networks: int = 6,
    seeds: int = 1,
    rounds: int = 1,
    jobs: int | None = None,
    engine: str = "local",
    device: str | None = None,
    options: Options = (),
) -> None:
    """Evaluate one policy on networks that no agent was trained on.

    Args:
        model: Path of a saved agent's model.zip, or the name of a policy.
        env: Id of the environment; by default the one that the agent was trained on.
        out: Folder of the records; by default `eval` beside the model, or runs/eval/NAME.
        networks: Held-out networks.
        seeds: Repetitions with other batches.
        rounds: Rounds of an episode.
        jobs: Processes; by default one for each core.
        engine: Where episodes are run: local, or dask://HOST:PORT.
        device: Where networks are, e.g. cpu or cuda.
        options: Further arguments of the environment and of the target.
    """
    path = expanded(model)
    folder = out or (path.parent / "eval" if path.is_file() else Path("runs") / "eval" / model)
    run_bench(
        (model,), env or env_of(model, ENV), folder, networks=networks, seeds=seeds, rounds=rounds, jobs=jobs,
        engine=engine, device=device, options=options,
    )  # fmt: skip


def bench(
    policies: tuple[str, ...] = COMPETITORS + DEPGRAPH,
    env: str = ENV,
    out: Path = Path("runs/bench"),
    budgets: tuple[float, ...] = BUDGETS,
    networks: int = 12,
    seeds: int = 1,
    rounds: int = 1,
    jobs: int | None = None,
    engine: str = "local",
    device: str | None = None,
    options: Options = (),
) -> None:
    """Let policies compete on held-out networks, and write a report; run it again to go on after a kill.

    Exits with status 1 if an episode failed; the report says why, and running it again tries it again.

    Args:
        policies: Names (see `prune-env list policies`) or paths of saved agents.
        env: Id of the environment.
        out: Folder of records and report.
        budgets: Sparsities to prune to.
        networks: Held-out networks.
        seeds: Repetitions with other batches.
        rounds: Rounds of an episode.
        jobs: Processes; by default one for each core.
        engine: Where episodes are run: local, or dask://HOST:PORT.
        device: Where networks are, e.g. cpu or cuda.
        options: Further arguments of the environment and of the target, e.g. steps_per_round=60.
    """
    run_bench(policies, env, out, budgets, networks, seeds, rounds, jobs, engine, device, options)


def run_bench(
    policies: tuple[str, ...],
    env: str,
    out: Path,
    budgets: tuple[float, ...] = BUDGETS,
    networks: int = 12,
    seeds: int = 1,
    rounds: int = 1,
    jobs: int | None = None,
    engine: str = "local",
    device: str | None = None,
    options: Options = (),
) -> None:
    """What `bench` does, for other commands.

    Raises:
        CommandFailedError: If an episode failed; everything is written by then.
    """
    out = expanded(out)
    check_env(env)
    check_engine(engine)
    check_at_least(1, networks=networks, seeds=seeds, rounds=rounds)
    chosen, workers = env_options(options, device, rounds=rounds), processes(jobs)

    from prune_env.benchmark import compare

    single_threaded()
    run = compare(
        policies,
        env,
        budgets=budgets,
        networks=networks,
        seeds=seeds,
        out=out,
        env_options=chosen,
        jobs=workers,
        engine=engine,
    )
    write_atomically(out / "command.txt", f"{command_line()}\n".encode())
    shown, _ = run.records.latest_configuration()
    if shown.results:
        report(out)
    if failures := shown.failures:
        raise CommandFailedError(
            f"{len(failures)} of {len(failures) + len(shown.results)} episodes failed, first {failures[0].policy}: "
            f"{failures[0].error} (all are in {out / 'records.jsonl'}; run the same command to try them again)"
        )


def report(folder: tyro.conf.Positional[Path]) -> None:
    """Make tables, plots and an HTML page of a run, from its files alone.

    Args:
        folder: Where records.jsonl lies.
    """
    from prune_env.benchmark import print_report, write_report

    folder = expanded(folder)
    page = write_report(folder)
    print_report(folder, console)
    say(f"\npage: {page}")


def env_of(policy: str, default: str) -> str:
    """The environment that a saved agent was trained on; the default for other policies."""
    path = expanded(policy)
    if path.suffix != ".zip" or not path.is_file():
        return default
    from prune_env.agents.saved import find_description

    description = find_description(path)
    return default if description is None else str(description["made_by"].get("env", default))
