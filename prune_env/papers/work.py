"""Jobs are done once: their rows are kept under the job's hash, so that a killed run goes on and studies share work."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from prune_env.envs.files import cache_folder, canonical_json, write_atomically
from prune_env.papers.study import Job, Rows, Value
from prune_env.parallel import map_unordered

_log = logging.getLogger(__name__)


def run_jobs(jobs: Sequence[Job], processes: int) -> dict[str, Rows]:
    """Rows of every job by its key; those that are on disk are read, the others are made in `processes` processes."""
    unique = {job.key: job for job in jobs}
    rows = {key: found for key, job in unique.items() if (found := read_rows(job)) is not None}
    missing = [job for key, job in unique.items() if key not in rows]
    return rows | dict(map_unordered(_do, missing, processes, "jobs"))


def rows_path(job: Job) -> Path:
    """Where the rows of a job are kept."""
    return cache_folder() / "papers" / f"{job.key}.json"


def read_rows(job: Job) -> Rows | None:
    """The rows of a job that was done; None if it was not, or if the file is damaged."""
    path = rows_path(job)
    if not path.is_file():
        return None
    try:
        kept = json.loads(path.read_text())
        rows: Rows = kept["rows"]
        if kept["sha256"] != _checksum(rows) or kept["made_by"] != json.loads(canonical_json(job.made_by())):
            raise ValueError("its checksum or description does not fit")
        return rows
    except (ValueError, KeyError, TypeError, OSError) as error:
        _log.warning("%s is damaged (%s); the job is done again", path, error)
        return None


def _do(job: Job) -> tuple[str, Rows]:
    rows = [{name: _rounded(value) for name, value in row.items()} for row in job.function(**job.arguments)]
    kept = {"made_by": job.made_by(), "sha256": _checksum(rows), "rows": rows}
    write_atomically(rows_path(job), json.dumps(kept).encode())
    return job.key, rows


def _rounded(value: Value) -> Value:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _checksum(rows: Rows) -> str:
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
