"""`prune-env reproduce`: the studies."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro

from prune_env.cli.shared import add_row, check_at_least, console, new_table, out_folder, processes, say


def reproduce(
    names: tyro.conf.Positional[tuple[str, ...]],
    quick: bool = False,
    out: Path = Path("runs/papers"),
    jobs: int | None = None,
    engine: str = "local",
    seeds: tuple[int, ...] = (),
    controller: Literal["small", "paper"] = "small",
    episodes: int = 20,
    fine_tune: int = 0,
    planner: bool = False,
    methods: tuple[str, ...] = (),
    sparsities: tuple[float, ...] = (),
    encoder: tuple[str, ...] = (),
    rewrite: bool = False,
) -> None:
    """Reproduce tables, figures and claims of the papers; run the same command again to go on after a kill.

    Args:
        names: Of studies, see `prune-env list studies`, or all.
        quick: A smaller setting, which each page states, in minutes.
        out: Folder of data, figures and pages.
        jobs: Processes; by default one for each core.
        engine: Where jobs are done: local, or dask://HOST:PORT.
        seeds: By default those of each study.
        controller: Which networks sparsity-reward prunes: small ones, or the paper-size controller, point by point;
            the options below are for the latter.
        episodes: Test episodes of every point.
        fine_tune: Updates after the cut, scored besides right after it; 0 for none.
        planner: Let the planner act too, which takes ten times as long as the policy alone.
        methods: Only these pruning policies.
        sparsities: Only these, e.g. 0.2 0.4.
        encoder: Only these treatments of the encoder: "as any other", "weighted up" or "protected".
        rewrite: Write pages, figures and claims again from the data.csv in OUT by the present code; nothing is run.
    """
    out = out_folder(out)
    check_at_least(0, seeds=seeds, fine_tune=fine_tune)
    check_at_least(1, episodes=episodes)
    workers = processes(jobs)
    if rewrite:
        if quick or seeds or controller == "paper":
            raise ValueError("--rewrite keeps the setting of the results in --out; give it names and --out only")

        from prune_env.studies import rewrite as write_again

        claims = write_again(names, out)
    elif controller == "paper":
        if tuple(names) != ("sparsity-reward",) or quick:
            raise ValueError("--controller paper goes with the study sparsity-reward alone, and not with --quick")

        from prune_env.studies.component_aware.paper_run import NAME, Amount, reproduce_paper_controller

        amount = Amount(episodes, fine_tune, planner, methods, sparsities, encoder, seeds or (0, 1, 2))
        claims = {NAME: reproduce_paper_controller(out, amount, workers, engine)}
    else:
        from prune_env.studies import reproduce as run

        claims = run(names, out, quick=quick, jobs=workers, seeds=seeds, engine=engine)
    table = new_table("study", "the paper says", "verdict")
    for name, made in claims.items():
        for claim in made:
            add_row(table, name, claim.paper, claim.verdict)
    console.print(table)
    for name in claims:
        say(f"page: {out / name / 'page.md'}")
