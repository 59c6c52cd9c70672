"""Run the experiment on the paper-size controller point by point; rows are kept in its folder, and never made twice."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from prune_env.benchmark.plot_style import save_figure, styled
from prune_env.dense import DenseTrainingError
from prune_env.parallel import Engine, single_threaded
from prune_env.storage import expanded, locked, sealed, write_atomically
from prune_env.studies import catalogue
from prune_env.studies.component_aware import paper_page as page
from prune_env.studies.component_aware.paper_claims import claims
from prune_env.studies.component_aware.paper_plan import Amount, missing, points
from prune_env.studies.core.job_store import run_jobs
from prune_env.studies.core.page import claims_table, write_index
from prune_env.studies.core.rows import to_csv
from prune_env.studies.core.study import Claim, Row, Rows

NAME = "sparsity-reward-paper"
COMMAND = "prune-env reproduce sparsity-reward --controller paper"
_NUMBERS = ("sparsity", "sparsity_reached", "return")
_COUNTS = ("seed", "steps", "episodes")


def reproduce_paper_controller(
    out: Path = Path("runs/papers"), amount: Amount | None = None, jobs: int = 1, engine: Engine = "local"
) -> list[Claim]:
    """Run the points that `out`/sparsity-reward-paper/data.csv lacks, and write page, figure and claims from all rows.

    Rows are written as soon as they are made, so an interrupted run goes on where it was. Rows that other code made
    are kept; each names the code that made it.

    Args:
        out: Folder of all studies.
        amount: How much to run.
        jobs: Local processes.
        engine: Where jobs run, see `prune_env.parallel`.

    Returns:
        The claims, from all rows that there are.

    Raises:
        DenseTrainingError: If a network diverged in fine-tuning; raised after all other points.
    """
    single_threaded()
    folder = expanded(out) / NAME
    data = folder / "data.csv"
    wanted = points(amount or Amount())
    failures: list[str] = []
    with locked(data):
        rows = read_rows(data)
        try:
            for _, done in run_jobs([point.job() for point in missing(wanted, rows)], jobs, engine):
                failures += [done.failure] if done.failure else []
                rows += [{**row, "code": done.made_with["code"], "torch": done.made_with["torch"]} for row in done.rows]
                write_atomically(data, to_csv(rows).encode())
        finally:
            made = write_page(rows, folder) if rows else []
            write_index([*catalogue.STUDIES, NAME], folder.parent)
    if failures:
        raise DenseTrainingError(f"{len(failures)} points failed: {'; '.join(failures)}")
    return made


def read_rows(path: Path) -> Rows:
    """The rows of a data.csv; none if there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [_typed(row) for row in csv.DictReader(file)]


def _typed(row: dict[str, str]) -> Row:
    numbers: Row = {name: float(row[name]) for name in _NUMBERS}
    counts: Row = {name: int(row[name]) for name in _COUNTS}
    return {**row, **numbers, **counts}


def write_page(rows: Rows, folder: Path) -> list[Claim]:
    """Write figure, claims.json and page.md from the rows; returns the claims."""
    found = claims(rows)
    save_figure(styled(page.draw)(rows), folder / "figure")
    write_atomically(folder / "page.md", page_text(rows, found).encode())
    write_atomically(folder / "claims.json", claims_text(rows, found).encode())
    return found


def page_text(rows: Rows, found: list[Claim]) -> str:
    """page.md."""
    made_by = [
        f"- {sum(row['code'] == code for row in rows)} rows: torch {torch}, code {code}" for torch, code in _made(rows)
    ]
    parts = [
        f"# {page.TITLE}",
        page.SETTING,
        page.what_was_run(rows),
        f"![{page.TITLE}](figure.png)",
        "## The paper's statements",
        claims_table(found) if found else "No statement can be judged from these points.",
        "## Numbers",
        page.table(rows),
        "## How this was made",
        f"- Command: `{COMMAND}`; `--help` lists the options that say how much\n" + "\n".join(made_by),
    ]
    return "\n\n".join(parts) + "\n"


def claims_text(rows: Rows, found: list[Claim]) -> str:
    """claims.json."""
    said = {
        "title": page.TITLE,
        "command": COMMAND,
        "quick": False,
        "made_with": [{"torch": torch, "code": code} for torch, code in _made(rows)],
        "claims": [vars(claim) for claim in found],
    }
    return json.dumps(sealed(said), indent=1)


def _made(rows: Rows) -> list[tuple[str, str]]:
    """Versions of torch and of the code that made the rows."""
    return sorted({(str(row["torch"]), str(row["code"])) for row in rows})
