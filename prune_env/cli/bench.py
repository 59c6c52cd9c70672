"""`prune-env eval`, `bench` and `report`: policies on held-out networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    out_folder,
    processes,
    say,
)
from prune_env.parallel import check_engine, single_threaded
from prune_env.storage import expanded, write_atomically

ENV = "PruneEnv/Autoencoder-v1"
BUDGETS = (0.3, 0.5, 0.7)
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
    rounds: int | None = None,
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
        rounds: Rounds of an episode; by default those that the agent was trained on, or 1.
        jobs: Processes; by default one for each core.
        engine: Where episodes are run: local, or dask://HOST:PORT.
        device: Where networks are, e.g. cpu or cuda.
        options: Further arguments of the environment and of the target; by default those that the agent was trained on.
    """
    path = expanded(model)
    folder = out or (path.parent / "eval" if path.is_file() else Path("runs") / "eval" / model)
    env = env or env_of(model, ENV)
    check_at_least(1, rounds=rounds)
    trained = trained_on(model, env)
    run_bench(
        (model,), env, folder, networks=networks, seeds=seeds, rounds=rounds or trained.get("rounds", 1), jobs=jobs,
        engine=engine, device=device, options=options, trained=trained,
    )  # fmt: skip


def bench(
    policies: tuple[str, ...] = COMPETITORS + DEPGRAPH,
    env: str = ENV,
    out: Path = Path("runs/bench"),
    budgets: tuple[float, ...] = BUDGETS,
    networks: int = 24,
    seeds: int = 1,
    rounds: int = 1,
    jobs: int | None = None,
    engine: str = "local",
    device: str | None = None,
    options: Options = (),
) -> None:
    """Compare policies on held-out networks and write a report. The same command resumes after an interruption.

    Exits with status 1 if an episode failed; the report says why, and the same command tries it again.

    Args:
        policies: Names (see `prune-env list policies`) or paths of saved agents; "all" for all that need no options.
        env: Id of the environment.
        out: Folder of records and report.
        budgets: Sparsities to prune to, each in an episode of its own.
        networks: Number of held-out networks.
        seeds: Episodes for each network and budget, with different batches.
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
    networks: int = 24,
    seeds: int = 1,
    rounds: int = 1,
    jobs: int | None = None,
    engine: str = "local",
    device: str | None = None,
    options: Options = (),
    trained: Mapping[str, Any] | None = None,
) -> None:
    """What `bench` does, for other commands; `trained` are arguments of the environment that `options` may replace.

    Raises:
        CommandFailedError: If an episode failed; everything is written by then.
    """
    out = out_folder(out)
    check_env(env)
    check_engine(engine)
    check_at_least(1, networks=networks, seeds=seeds, rounds=rounds)
    chosen, workers = env_options(options, device, **{**(trained or {}), "rounds": rounds}), processes(jobs)

    from prune_env.benchmark import compare
    from prune_env.benchmark.policies import every_policy

    single_threaded()
    policies = every_policy() if policies == ("all",) else policies
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
    return str(_made_by(policy).get("env", default))


def trained_on(policy: str, env: str) -> dict[str, Any]:
    """Arguments of the environment that a saved agent was trained on, if it is this one; {} for other policies.

    Pool, split, budget and device belong to a training, not to what is asked of the agent.
    """
    made_by = _made_by(policy)
    given = made_by.get("env_options", {}) if made_by.get("env") == env else {}
    return {name: value for name, value in given.items() if name not in ("pool", "split", "budget", "device")}


def _made_by(policy: str) -> dict[str, Any]:
    path = expanded(policy)
    if path.suffix != ".zip" or not path.is_file():
        return {}
    from prune_env.agents.saved import find_description

    description = find_description(path)
    return {} if description is None else description["made_by"]
