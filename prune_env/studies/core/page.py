"""The files of a study: data.csv, the figure, claims.json, and a page with the paper's statements and measurements."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from prune_env.benchmark.plot_style import save_figure, styled
from prune_env.markup import markdown_table
from prune_env.storage import read_sealed, sealed, write_atomically
from prune_env.studies.core.job_store import Done
from prune_env.studies.core.study import Claim, Job, Rows, Study, Value

_CLAIMS = "claims.json"
_REMEDY = "delete it, and reproduce this study again, which repeats no job"


def write_study(
    study: Study,
    done: Mapping[str, Done],
    jobs: Sequence[Job],
    folder: Path,
    quick: bool,
    seeds: Sequence[int],
    command: str,
) -> list[Claim]:
    """Write data.csv, figure.png, figure.svg, claims.json and page.md of a study into `folder`; returns its claims."""
    rows = [row for job in jobs for row in done[job.key].rows]
    data = study.data(rows, quick)
    write_atomically(folder / "data.csv", to_csv(data).encode())
    parts = [f"# {study.title}", study.setting(quick)]
    figure = styled(study.draw)(data, quick)
    if figure is not None:
        save_figure(figure, folder / "figure")
        parts.append(f"![{study.title}](figure.png)")
    claims = study.claims(data, quick)
    if claims:
        parts += ["## The paper's statements", claims_table(claims)]
    if table := study.table(data, quick):
        parts += ["## Numbers", table]
    parts += ["## How this was made", _provenance(jobs, done, seeds, command)]
    write_atomically(folder / "page.md", ("\n\n".join(parts) + "\n").encode())
    said = {
        "title": study.title,
        "command": command,
        "quick": quick,
        "made_with": _made_with(jobs, done),
        "claims": [asdict(claim) for claim in claims],
    }
    write_atomically(folder / _CLAIMS, json.dumps(sealed(said), indent=1).encode())
    return claims


def is_of_full_setting(folder: Path) -> bool:
    """Whether a folder holds results of the full setting."""
    path = folder / _CLAIMS
    return path.is_file() and not read_sealed(path, _REMEDY)["quick"]


def write_index(names: Iterable[str], out: Path) -> None:
    """Write an index page with the claims of the named studies that are in `out`, with verdicts and links."""
    parts = ["# The papers, reproduced"]
    for name in names:
        path = out / name / _CLAIMS
        if path.is_file():
            said = read_sealed(path, _REMEDY)
            claims = [Claim(**claim) for claim in said["claims"]]
            parts += [f"## [{said['title']}]({name}/page.md)", f"`{said['command']}`"]
            parts.append(claims_table(claims, rules=False) if claims else "No statement to judge.")
    write_atomically(out / "README.md", ("\n\n".join(parts) + "\n").encode())


def claims_table(claims: Sequence[Claim], rules: bool = True) -> str:
    """Paper, measured, verdict and rule, as Markdown."""
    header = ["the paper says", "measured here", "verdict", "rule"]
    rows = [[c.paper, c.measured, f"**{c.verdict}**", c.rule] for c in claims]
    kept = len(header) if rules else -1
    return markdown_table(header[:kept], [row[:kept] for row in rows])


def to_csv(rows: Rows) -> str:
    """Rows as CSV: columns in order of appearance, floats to nine digits, empty where a row has no such column."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name, "")) for name in columns] for row in rows)
    return text.getvalue()


def _cell(value: Value) -> Value:
    return f"{value:.9g}" if isinstance(value, float) else value


def _made_with(jobs: Sequence[Job], done: Mapping[str, Done]) -> list[dict[str, str]]:
    """Versions, processor and code of the rows; more than one if not all were made in one go."""
    return [dict(pairs) for pairs in dict.fromkeys(tuple(done[job.key].made_with.items()) for job in jobs)]


def _provenance(jobs: Sequence[Job], done: Mapping[str, Done], seeds: Sequence[int], command: str) -> str:
    versions = [", ".join(f"{name} {version}" for name, version in made.items()) for made in _made_with(jobs, done)]
    lines = [f"Command: `{command}`", f"Seeds: {', '.join(map(str, seeds))}", *(f"Made with: {v}" for v in versions)]
    made = [
        (f"`{job.key}`", job.function.__name__, f"`{json.dumps(dict(job.arguments), sort_keys=True)}`") for job in jobs
    ]
    listed = markdown_table(("configuration hash", "job", "arguments"), made)
    return "\n".join(f"- {line}" for line in lines) + (
        f"\n\n<details><summary>{len(jobs)} jobs</summary>\n\n{listed}\n\n</details>"
    )
