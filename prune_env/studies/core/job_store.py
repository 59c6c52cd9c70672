"""A cache of rows by the hash of their job, so that interrupted runs resume and studies share jobs."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prune_env.dense import DenseTrainingError, checkpoint_files
from prune_env.dense.jobs import train_networks
from prune_env.parallel import Engine, check_engine, map_unordered
from prune_env.provenance import made_with
from prune_env.storage import cache_folder, canonical_json, read_sealed, write_sealed
from prune_env.studies.core.study import Job, Rows, Value

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Done:
    """The outcome of a job.

    Attributes:
        rows: Its rows; none if it failed.
        made_with: Versions, processor and hash of the code that made them.
        failure: Reason of a failure, else empty.
    """

    rows: Rows
    made_with: Mapping[str, str]
    failure: str = ""


def run_jobs(jobs: Sequence[Job], processes: int, engine: Engine = "local") -> Iterator[tuple[str, Done]]:
    """Yield key and outcome of every job; cached ones are read, the others are run.

    A network that diverges is a failure in the outcome, and does not stop the other jobs.

    Args:
        jobs: Equal ones are done once.
        processes: Local processes.
        engine: Where jobs run, see `prune_env.parallel`.
    """
    check_engine(engine)
    unique = {job.key: job for job in jobs}
    missing = []
    for key, job in unique.items():
        kept = read_done(job)
        if kept is None:
            missing.append(job)
        else:
            yield key, kept
    for _ in train_networks([network for job in missing for network in job.networks], processes, engine=engine):
        pass  # a network that diverges does so again in its job, which says so
    for key, done in map_unordered(_do, missing, processes, "jobs", engine=engine, files=_files):
        if not done.failure:
            _keep(unique[key], done)
        yield key, done


def _files(job: Job) -> list[Path]:
    return [path for network in job.networks for path in checkpoint_files(network)]


def rows_path(job: Job) -> Path:
    """The cache file of a job."""
    return cache_folder() / "papers" / f"{job.key}.json"


def read_done(job: Job) -> Done | None:
    """What is kept of a job; None if it was not done, or by other code, or if the file is damaged."""
    path = rows_path(job)
    if not path.is_file():
        return None
    try:
        kept = read_sealed(path, "it is not used")
        rows: Rows = kept["rows"]
        if kept["made_by"] != json.loads(canonical_json(job.made_by())):
            raise ValueError("it was made by another job")
        if kept["made_with"]["code"] == job.code:
            return Done(rows, kept["made_with"])
        _log.warning("%s was made by other code; the job is done again", path)
    except (ValueError, KeyError, TypeError, OSError) as error:
        _log.warning("%s is damaged (%s); the job is done again", path, error)
    return None


def _do(job: Job) -> tuple[str, Done]:
    described = {**made_with(), "code": job.code}
    try:
        made = job.function(**job.arguments)
    except DenseTrainingError as error:
        return job.key, Done([], described, str(error))
    rows = [{name: _rounded(value) for name, value in row.items()} for row in made]
    return job.key, Done(rows, described)


def _keep(job: Job, done: Done) -> None:
    write_sealed(rows_path(job), {"made_by": job.made_by(), "made_with": dict(done.made_with), "rows": done.rows})


def _rounded(value: Value) -> Value:
    return float(f"{value:.9g}") if isinstance(value, float) else value
