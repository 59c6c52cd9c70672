"""Run studies and write their pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prune_env.papers.page import write_index, write_study
from prune_env.papers.registry import select
from prune_env.papers.study import Claim
from prune_env.papers.work import run_jobs
from prune_env.parallel import single_threaded


def reproduce(
    names: Sequence[str],
    out: Path = Path("runs/papers"),
    quick: bool = False,
    jobs: int = 1,
    seeds: Sequence[int] | None = None,
) -> dict[str, list[Claim]]:
    """Run studies and write `out`/NAME/ with data.csv, figure and page.md; jobs that were done before are not repeated.

    Args:
        names: Of studies, or "all".
        out: Folder of all studies.
        quick: The smaller setting of each.
        jobs: Processes.
        seeds: By default those of each study.

    Returns:
        The claims of every study, by its name.

    Raises:
        ValueError: If a name is unknown; the known ones are listed.
    """
    studies = select(list(names))
    single_threaded()  # sums in another order would not be the same, bit for bit
    seeds_of = {s.name: tuple(seeds or (s.quick_seeds if quick else s.seeds)) for s in studies}
    jobs_of = {s.name: s.jobs(quick, seeds_of[s.name]) for s in studies}
    done = run_jobs([job for wanted in jobs_of.values() for job in wanted], jobs)
    claims = {}
    for study in studies:
        wanted = jobs_of[study.name]
        rows = [row for job in wanted for row in done[job.key]]
        command = " ".join(["prune-env reproduce", study.name, *(["--quick"] if quick else [])])
        if seeds:
            command += f" --seeds {' '.join(map(str, seeds))}"
        claims[study.name] = write_study(study, rows, wanted, out / study.name, quick, seeds_of[study.name], command)
    if len(studies) > 1:
        write_index(claims, {s.name: s.title for s in studies}, out / "README.md")
    return claims
