"""`prune-env pretrain`: dense networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from prune_env.cli.shared import (
    Name,
    Options,
    check_at_least,
    command_line,
    out_folder,
    parse_options,
    print_rows,
    processes,
    say,
)
from prune_env.parallel import check_engine, single_threaded
from prune_env.storage import write_atomically
from prune_env.targets import make_target
from prune_env.validation import check_device


def pretrain(
    target: Name,
    seeds: tuple[int, ...] = (0, 1, 2),
    pool: int | None = None,
    split: Literal["train", "held_out"] = "train",
    out: Path = Path("runs/pretrain"),
    jobs: int | None = None,
    engine: str = "local",
    device: str = "cpu",
    options: Options = (),
) -> None:
    """Train dense networks of a target, several at once; run the same command again to go on after a kill.

    They go into the cache, where environments find them; logs, copies and results go into the folder, which belongs to
    one configuration.

    Args:
        target: Name of a registered target, see `prune-env list targets`.
        seeds: One network for each.
        pool: Train the networks of an environment's pool of this size instead: other seeds, sizes and stages.
        split: Which pool, "train" or "held_out".
        out: Folder of logs, copies and results.
        jobs: Processes; by default one for each core.
        engine: Where networks are trained: local, or dask://HOST:PORT.
        device: Where a network is, e.g. cpu or cuda.
        options: Options of the target, e.g. task=cartpole-swingup obs=pixels.
    """
    from prune_env.benchmark.dense_curves import plot_dense_training
    from prune_env.benchmark.plot_style import save_figure
    from prune_env.dense import CheckpointSpec, Pool, training_history
    from prune_env.dense.pretrain import pretrain as pretrain_all

    out = out_folder(out)
    check_at_least(0, seeds=seeds)
    check_at_least(1, pool=pool)
    check_engine(engine)
    check_device(device)
    single_threaded()
    parsed = parse_options(options)
    unit = make_target(target, **parsed).unit
    if pool is not None:
        specs = [
            (spec, ", ".join(x for x in (label, f"seed={spec.seed}") if x))
            for spec, label in Pool(target, parsed, pool, split, device=device).specs()
        ]
    else:
        specs = [(CheckpointSpec(target, parsed, seed, device=device), f"seed={seed}") for seed in seeds]
    rows = pretrain_all(specs, out, processes(jobs), command_line(), engine)
    print_rows(rows)
    write_atomically(out / "results.json", (json.dumps(rows, indent=1) + "\n").encode())
    if curves := {label: evaluations for spec, label in specs if (evaluations := training_history(spec))}:
        picture, _ = save_figure(plot_dense_training(curves, unit), out / "curves")
        say(f"learning curves: {picture}")
    say(f"tensorboard --logdir {out}", style="dim")
