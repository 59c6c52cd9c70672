"""`prune-env reproduce`: the studies."""

from __future__ import annotations

from pathlib import Path

import tyro

from prune_env.cli.shared import check_at_least, console, new_table, processes, say
from prune_env.storage import expanded


def reproduce(
    names: tyro.conf.Positional[tuple[str, ...]],
    quick: bool = False,
    out: Path = Path("runs/papers"),
    jobs: int | None = None,
    engine: str = "local",
    seeds: tuple[int, ...] = (),
) -> None:
    """Reproduce tables, figures and claims of the papers; run the same command again to go on after a kill.

    Args:
        names: Of studies, see `prune-env list studies`, or all.
        quick: A smaller setting, which each page states, in minutes.
        out: Folder of data, figures and pages.
        jobs: Processes; by default one for each core.
        engine: Where jobs are done: local, or dask://HOST:PORT.
        seeds: By default those of each study.
    """
    out = expanded(out)
    check_at_least(0, seeds=seeds)
    workers = processes(jobs)

    from prune_env.studies import reproduce as run

    claims = run(names, out, quick=quick, jobs=workers, seeds=seeds, engine=engine)
    table = new_table("study", "the paper says", "verdict")
    for name, made in claims.items():
        for claim in made:
            table.add_row(name, claim.paper, claim.verdict)
    console.print(table)
    for name in claims:
        say(f"page: {out / name / 'page.md'}")
