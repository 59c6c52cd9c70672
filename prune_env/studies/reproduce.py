"""Run studies and write their pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prune_env.dense import DenseTrainingError
from prune_env.parallel import Engine, single_threaded
from prune_env.storage import expanded
from prune_env.studies import catalogue
from prune_env.studies.component_aware import paper_run
from prune_env.studies.core.job_store import Done, run_jobs
from prune_env.studies.core.page import CLAIMS, is_of_full_setting, rewrite_study, write_index, write_study
from prune_env.studies.core.study import Claim


def reproduce(
    names: Sequence[str],
    out: Path = Path("runs/papers"),
    quick: bool = False,
    jobs: int = 1,
    seeds: Sequence[int] | None = None,
    engine: Engine = "local",
) -> dict[str, list[Claim]]:
    """Run studies and write `out`/NAME/ with data.csv, figure, claims.json and page.md, and an index page in `out`.

    Finished jobs are not repeated; a study is written as soon as its last job is finished.

    Args:
        names: Names of studies, or "all".
        out: Folder of all studies.
        quick: Whether to use the smaller setting of each study.
        jobs: Local processes.
        seeds: Seeds of the networks; by default those of each study.
        engine: Where jobs run: "local", "dask://HOST:PORT", an executor, or a `distributed.Client`.

    Returns:
        The claims of every study, by its name.

    Raises:
        ValueError: If a name is unknown, or if the quick setting would overwrite results of the full one.
        DenseTrainingError: If networks diverged; raised at the end, after all other studies are written.
    """
    out = expanded(out)
    studies = catalogue.select(list(names))
    for study in studies:
        if quick and is_of_full_setting(out / study.name):
            raise ValueError(
                f"{out / study.name} has results of the full setting; write those of the quick one to another --out"
            )
    single_threaded()  # the order of sums, and with it the last bits of results, depends on the number of threads
    seeds_of = {s.name: tuple(seeds or (s.quick_seeds if quick else s.seeds)) for s in studies}
    jobs_of = {s.name: s.jobs(quick, seeds_of[s.name]) for s in studies}
    done: dict[str, Done] = {}
    claims: dict[str, list[Claim]] = {}
    waiting = list(studies)
    for key, outcome in run_jobs([job for wanted in jobs_of.values() for job in wanted], jobs, engine):
        done[key] = outcome
        for study in [s for s in waiting if all(job.key in done for job in jobs_of[s.name])]:
            waiting.remove(study)
            wanted, of_seeds = jobs_of[study.name], seeds_of[study.name]
            if not any(done[job.key].failure for job in wanted):
                command = _command(study.name, quick, seeds)
                claims[study.name] = write_study(study, done, wanted, out / study.name, quick, of_seeds, command)
                write_index([*catalogue.STUDIES, paper_run.NAME], out)
    failures = {key: outcome.failure for key, outcome in done.items() if outcome.failure}
    if failures:
        listed = "; ".join(f"{key}: {failure}" for key, failure in failures.items())
        missing = [s.name for s in studies if s.name not in claims]
        raise DenseTrainingError(
            f"{len(failures)} jobs failed, so {', '.join(missing)} could not be written ({listed})"
        )
    return {study.name: claims[study.name] for study in studies}


def rewrite(names: Sequence[str], out: Path = Path("runs/papers")) -> dict[str, list[Claim]]:
    """Write pages, figures and claims again from the data.csv in `out`/NAME by the present code; no job is run.

    Args:
        names: Names of studies, or "all": those that are in `out`, that of the paper-size controller included.
        out: Folder of all studies.

    Returns:
        The claims of every study, by its name.

    Raises:
        ValueError: If a name is unknown, or its results, or those that its statistics are made from, are not in `out`.
        DamagedFileError: If a claims.json is damaged.
    """
    out = expanded(out)
    claims: dict[str, list[Claim]] = {}
    for study in catalogue.select(list(names)):
        if "all" in names and not (out / study.name / CLAIMS).is_file():
            continue
        try:
            claims[study.name] = rewrite_study(study, out)
        except FileNotFoundError as error:
            raise ValueError(
                f"{study.name} cannot be written again: there is no {error.filename}; reproduce it first"
            ) from error
    if "all" in names and (rows := paper_run.read_rows(out / paper_run.NAME / "data.csv")):
        claims[paper_run.NAME] = paper_run.write_page(rows, out / paper_run.NAME)
    write_index([*catalogue.STUDIES, paper_run.NAME], out)
    return claims


def _command(name: str, quick: bool, seeds: Sequence[int] | None) -> str:
    chosen = ["--seeds", *map(str, seeds)] if seeds else []
    return " ".join(["prune-env reproduce", name, *(["--quick"] if quick else []), *chosen])
