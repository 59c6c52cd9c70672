"""The command `prune-env`: list, groups, pretrain, train, eval, bench, report, video, demo, reproduce."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium as gym
import tyro
import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from prune_env.dense import DenseTrainingError
from prune_env.envs import ENVIRONMENTS, OBJECTIVES
from prune_env.importance import CRITERIA
from prune_env.parallel import cores, single_threaded
from prune_env.targets import DataError, known_targets, make_target

app = tyro.extras.SubcommandApp()
_console = Console()

# Given once with several pairs, or several times: what is said first is not forgotten.
Options = Annotated[
    tuple[tuple[str, ...], ...],
    tyro.conf.arg(name="set", metavar="KEY=VALUE ...", aliases=["-s"]),
    tyro.conf.UseAppendAction,
]
Name = tyro.conf.Positional[str]

COMPETITORS = (
    *("none", "random", "uniform", "l1", "l2", "gradient", "fisher", "bayes", "combined", "product"),
    *("global-l2", "global-l2-rel", "global-fisher", "global-fisher-rel"),
)
"""What an agent competes with by default: policies that need no trials."""
DEPGRAPH = ("depgraph-global", "depgraph-local")


@app.command(name="list")
def list_names() -> None:
    """Show what there is: environments, targets, policies, algorithms, objectives and criteria."""
    from prune_env.agents.settings import ALGORITHMS
    from prune_env.benchmark import known_policies

    table = Table("kind", "names", show_lines=True)
    known: dict[str, Iterable[str]] = {
        "environments": ENVIRONMENTS,
        "targets": known_targets(),
        "policies": known_policies(),
        "algorithms": ALGORITHMS,
        "objectives": [*OBJECTIVES, "vector"],
        "criteria": CRITERIA,
    }
    for kind, names in known.items():
        table.add_row(kind, ", ".join(names))
    _console.print(table)


@app.command
def groups(target: Name, options: Options = ()) -> None:
    """Print the pruning groups of a target: what is removed together, what it costs, and what is locked and why.

    Args:
        target: Name of a registered target, see `prune-env list`.
        options: Options of the target, e.g. latent_dim=8 data=mnist.
    """
    import torch

    from prune_env.groups import discover
    from prune_env.groups.summary import group_rows

    made = make_target(target, **_parse(options))
    model = made.build(torch.Generator().manual_seed(0))
    rows = group_rows(model, discover(model, made.trace, made.components), made.trace)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for title in ("group", "kind", "components", "channels", "parameters", "MACs"):
        # In a narrow terminal names are folded, never cut: people copy them from here.
        table.add_column(
            title, justify="right" if title in ("channels", "parameters", "MACs") else "left", overflow="fold"
        )
    table.add_column("members, or why locked", overflow="fold")
    for *cells, members, reason in rows[1:]:
        table.add_row(*cells, reason or members, style="dim" if reason else "")
    _console.print(table)


@app.command
def compare_groups(out: Path = Path("docs/groups")) -> None:
    """Count the groups of six multi-component networks in three ways, beside Table 1 of arXiv 2504.13296.

    Args:
        out: Folder of the table, as Markdown and CSV.
    """
    from prune_env.studies.component_aware.group_counts import write_table1

    write_table1(out)
    _console.print((out / "table1.md").read_text(), markup=False, highlight=False)


@app.command
def pretrain(
    target: Name,
    seeds: tuple[int, ...] = (0, 1, 2),
    pool: int | None = None,
    split: Literal["train", "held_out"] = "train",
    out: Path = Path("runs/pretrain"),
    jobs: int | None = None,
    options: Options = (),
) -> None:
    """Train dense networks of a target, several at once; run the same command again to go on after a kill.

    They go into the cache, where environments find them; logs, copies and results go into the folder, which belongs to
    one configuration.

    Args:
        target: Name of a registered target, see `prune-env list`.
        seeds: One network for each.
        pool: Train the networks of an environment's pool of this size instead: other seeds, sizes and stages.
        split: Which pool, "train" or "held_out".
        out: Folder of logs, copies and results.
        jobs: Processes; by default one for each core.
        options: Options of the target, e.g. task=cartpole-swingup obs=pixels.
    """
    from prune_env.benchmark.dense_curves import plot_dense_training
    from prune_env.benchmark.plot_style import save_figure
    from prune_env.dense import CheckpointSpec, Pool
    from prune_env.dense.checkpoints import training_history
    from prune_env.dense.pretrain import pretrain as pretrain_all

    single_threaded()
    parsed = _parse(options)
    if pool:
        specs = [
            (spec, ", ".join(x for x in (label, f"seed={spec.seed}") if x))
            for spec, label in Pool(target, parsed, pool, split).specs()
        ]
    else:
        specs = [(CheckpointSpec(target, parsed, seed), f"seed={seed}") for seed in seeds]
    rows = pretrain_all(specs, out, jobs or cores(), shlex.join(["prune-env", *sys.argv[1:]]))
    _print_rows(rows)
    (out / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
    if curves := {label: evaluations for spec, label in specs if (evaluations := training_history(spec))}:
        picture, _ = save_figure(plot_dense_training(curves, make_target(target, **parsed).unit), out / "curves")
        _console.print(f"learning curves: {picture}", soft_wrap=True)
    _console.print(f"tensorboard --logdir {out}", style="dim", soft_wrap=True)


@app.command
def train(
    algo: Name,
    env: str = "PruneEnv/Autoencoder-v0",
    out: Path | None = None,
    timesteps: int | None = None,
    pool: int = 16,
    rounds: int = 1,
    budget: tuple[float, ...] = (0.3, 0.9),
    n_envs: int | None = None,
    seed: int = 0,
    options: Options = (),
) -> None:
    """Train a pruning agent; run the same command again to go on after a kill.

    Args:
        algo: ppo, sac, td3 or ddpg.
        env: Id of the environment.
        out: Folder of the run; by default runs/ALGO.
        timesteps: Networks cut in all; by default what the algorithm's YAML file says.
        pool: Dense networks to train on.
        rounds: Rounds of an episode.
        budget: Sparsity to end at: a number, a pair to draw from uniformly, or a longer list to choose from.
        n_envs: Environments in parallel; by default what the algorithm's YAML file says.
        seed: Of the agent.
        options: Further arguments of the environment and of the target, e.g. steps_per_round=60 observation=importance.
    """
    from prune_env.agents import train_agent

    single_threaded()
    folder = out or Path("runs") / algo
    env_options = {"pool": pool, "rounds": rounds, "budget": list(budget), **_parse(options)}
    path = train_agent(algo, env, folder, env_options=env_options, timesteps=timesteps, n_envs=n_envs, seed=seed)
    _console.print(f"agent: {path}\nlearning curve: tensorboard --logdir {folder / 'tensorboard'}", soft_wrap=True)
    _console.print(
        f"competition: prune-env bench --policies uniform fisher {path} --env {env}", style="dim", soft_wrap=True
    )


@app.command(name="eval")
def evaluate(
    model: Name,
    env: str = "PruneEnv/Autoencoder-v0",
    out: Path | None = None,
    networks: int = 6,
    seeds: int = 1,
    rounds: int = 1,
    jobs: int | None = None,
    options: Options = (),
) -> None:
    """Evaluate one policy on networks that no agent was trained on.

    Args:
        model: Path of a saved agent's model.zip, or the name of a policy.
        env: Id of the environment.
        out: Folder of the records; by default `eval` beside the model, or runs/eval/NAME.
        networks: Held-out networks.
        seeds: Repetitions with other batches.
        rounds: Rounds of an episode.
        jobs: Processes; by default one for each core.
        options: Further arguments of the environment and of the target.
    """
    path = Path(model)
    folder = out or (path.parent / "eval" if path.is_file() else Path("runs") / "eval" / model)
    bench((model,), env, folder, networks=networks, seeds=seeds, rounds=rounds, jobs=jobs, options=options)


@app.command
def bench(
    policies: tuple[str, ...] = COMPETITORS + DEPGRAPH,
    env: str = "PruneEnv/Autoencoder-v0",
    out: Path = Path("runs/bench"),
    budgets: tuple[float, ...] = (0.3, 0.5, 0.7, 0.8, 0.9),
    networks: int = 12,
    seeds: int = 1,
    rounds: int = 1,
    jobs: int | None = None,
    options: Options = (),
) -> None:
    """Let policies compete on held-out networks, and write a report; run it again to go on after a kill.

    Args:
        policies: Names (see `prune-env list`) or paths of saved agents.
        env: Id of the environment.
        out: Folder of records and report.
        budgets: Sparsities to prune to.
        networks: Held-out networks.
        seeds: Repetitions with other batches.
        rounds: Rounds of an episode.
        jobs: Processes; by default one for each core.
        options: Further arguments of the environment and of the target, e.g. steps_per_round=60.
    """
    from prune_env.benchmark import compare

    single_threaded()
    compare(
        policies,
        env,
        budgets=budgets,
        networks=networks,
        seeds=seeds,
        out=out,
        env_options={"rounds": rounds, **_parse(options)},
        jobs=jobs or cores(),
    )
    (out / "command.txt").write_text(shlex.join(["prune-env", *sys.argv[1:]]) + "\n")
    report(out)


@app.command
def report(folder: tyro.conf.Positional[Path]) -> None:
    """Make tables, plots and an HTML page of a run, from its files alone.

    Args:
        folder: Where records.jsonl lies.
    """
    from prune_env.benchmark import print_report, write_report

    page = write_report(folder)
    print_report(folder, _console)
    _console.print(f"\npage: {page}", soft_wrap=True)


@app.command
def video(
    policy: Name,
    env: str = "PruneEnv/TDMPCPendulum-v0",
    out: Path = Path("runs/video.gif"),
    budget: float = 0.5,
    network: int = 0,
    seed: int = 0,
    options: Options = (),
) -> None:
    """Prune a network and show it at its task, dense above and pruned below, as a GIF.

    Args:
        policy: Name of a policy (see `prune-env list`) or path of a saved agent.
        env: Id of the environment.
        out: The GIF.
        budget: Sparsity to prune to.
        network: Which of the held-out networks.
        seed: Of the episode's batches.
        options: Further arguments of the environment and of the target.
    """
    from prune_env.benchmark.video import video as make_film

    single_threaded()
    path = make_film(policy, env, out, budget=budget, network=network, seed=seed, env_options=_parse(options))
    _console.print(f"video: {path}", soft_wrap=True)


@app.command
def demo(out: Path = Path("runs/demo"), timesteps: int = 5120, networks: int = 12) -> None:
    """Train a PPO agent on small autoencoders and let it compete on networks it has never seen (under five minutes).

    Args:
        out: Folder of everything that is written.
        timesteps: Networks that the agent cuts while it learns.
        networks: Held-out networks of the competition.
    """
    train("ppo", out=out / "ppo", timesteps=timesteps)
    bench((*COMPETITORS, str(out / "ppo" / "model.zip")), out=out, networks=networks)
    _console.print(f"agent's TensorBoard logs: tensorboard --logdir {out / 'ppo' / 'tensorboard'}", soft_wrap=True)


@app.command
def reproduce(
    names: tyro.conf.Positional[tuple[str, ...]],
    quick: bool = False,
    out: Path = Path("runs/papers"),
    jobs: int | None = None,
    seeds: tuple[int, ...] = (),
) -> None:
    """Reproduce tables, figures and claims of the papers; run the same command again to go on after a kill.

    Args:
        names: Of studies: table1, table2, fig1, fig2, fig3, fig4, hypotheses, damage, sparsity-reward, workflows, all.
        quick: A smaller setting, which each page states, in minutes.
        out: Folder of data, figures and pages.
        jobs: Processes; by default one for each core.
        seeds: By default those of each study.
    """
    from prune_env.studies import reproduce as run

    claims = run(names, out, quick=quick, jobs=jobs or cores(), seeds=seeds)
    table = Table("study", "the paper says", "verdict", box=box.SIMPLE_HEAD)
    for name, made in claims.items():
        for claim in made:
            table.add_row(name, claim.paper, claim.verdict)
    _console.print(table)
    for name in claims:
        _console.print(f"page: {out / name / 'page.md'}", soft_wrap=True)


def _print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """A table of what each row says, with a column for each name but the seed, which is in the label."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    titles = [title for title in rows[0] if title != "seed"]
    for title in titles:
        table.add_column(title.replace("_", " "), justify="left" if title == "label" else "right", overflow="fold")
    for row in rows:
        table.add_row(*(f"{v:,.4g}" if isinstance(v := row[title], float) else str(v) for title in titles))
    _console.print(table)


def _parse(options: Sequence[Sequence[str]]) -> dict[str, Any]:
    """KEY=VALUE pairs, with values as in YAML."""
    parsed = {}
    for option in chain.from_iterable(options):
        key, found, value = option.partition("=")
        if not found or not key.isidentifier():
            raise ValueError(f"an option is KEY=VALUE, e.g. latent_dim=8; got {option!r}")
        parsed[key] = yaml.safe_load(value)
    return parsed


def main() -> None:
    """Run the command line; what a user can mend ends in one line on standard error and exit status 2."""
    try:
        app.cli(prog="prune-env", description=__doc__, use_underscores=False)
    except (ValueError, DataError, DenseTrainingError, OSError, ImportError, gym.error.UnregisteredEnv) as error:
        print(f"prune-env: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("prune-env: interrupted; run the same command again to go on", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
