"""`prune-env sensitivity`: what each group of a target costs when it alone is cut."""

from __future__ import annotations

from pathlib import Path

from prune_env.cli.shared import Name, Options, check_at_least, console, env_options, out_folder, say
from prune_env.parallel import single_threaded


def sensitivity(
    target: Name,
    out: Path | None = None,
    networks: int = 1,
    points: int = 6,
    max_ratio: float = 0.95,
    held_out: bool = False,
    device: str | None = None,
    options: Options = (),
) -> None:
    """Cut one group at a time, train and score: a table and a plot of how sensitive each group of a target is.

    The policy `knapsack` shares out a budget by these curves. Every trial cut is counted, and the number printed.

    Args:
        target: Name of a registered target, see `prune-env list targets`.
        out: Folder of sensitivity.csv, .md, .png and .svg; by default runs/sensitivity/TARGET.
        networks: Dense networks of the target's pool to average over.
        points: Trials of each group, at evenly spaced ratios.
        max_ratio: The deepest cut.
        held_out: Whether to use networks that no agent trains on.
        device: Where networks are, e.g. cuda.
        options: Further arguments of the environment and options of the target, e.g. steps_per_round=60 latent_dim=8.
    """
    check_at_least(1, networks=networks, points=points)
    split = "held_out" if held_out else "train"
    chosen = {"target": target, "rounds": 1, "pool": networks, "split": split, **env_options(options, device)}
    folder = out_folder(out or Path("runs") / "sensitivity" / target)

    from rich.progress import Progress

    from prune_env import PruningEnv
    from prune_env.baselines import measure_sensitivity, write_sensitivity

    single_threaded()
    env = PruningEnv(**chosen)
    measured, trials = [], 0
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("trial cuts", total=networks * (points * len(env.group_names) + 1))
        for i, (label, _) in enumerate(env.labels):
            env.reset(seed=i, options={"network": i})
            curves = measure_sensitivity(env.view, points, max_ratio, on_trial=lambda: progress.advance(task))
            measured.append((label, curves))
            trials += env.episode.trial_cuts
    paths = write_sensitivity(folder, measured)
    say(paths[1].read_text())
    say(f"{trials} trial cuts; written: {', '.join(map(str, paths))}")
