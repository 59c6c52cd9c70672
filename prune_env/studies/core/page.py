"""The files of a study: data.csv, the figure, claims.json, and a page with the paper's statements and measurements.

Everything but data.csv is made from data.csv and from what made it, which claims.json records. So pages can be written
again by later code without repeating a job.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prune_env.benchmark.plot_style import save_figure, styled
from prune_env.markup import markdown_table
from prune_env.storage import read_sealed, sealed, write_atomically
from prune_env.studies.core.job_store import Done
from prune_env.studies.core.rows import read_csv, to_csv
from prune_env.studies.core.study import Claim, Job, Rows, Study

DATA, CLAIMS = "data.csv", "claims.json"
_REMEDY = "delete it, and reproduce this study again, which repeats no job"


@dataclass(frozen=True)
class Provenance:
    """What made the rows of a data.csv.

    Attributes:
        command: The command line.
        quick: Whether the setting was the quick one.
        seeds: Of the networks.
        made_with: Versions, processor and code; more than one entry if not all rows were made in one go.
        jobs: "key", "function" and "arguments" of every job, as the version that ran it names them.
    """

    command: str
    quick: bool
    seeds: tuple[int, ...]
    made_with: tuple[Mapping[str, str], ...]
    jobs: tuple[Mapping[str, Any], ...]

    @classmethod
    def of_jobs(
        cls, jobs: Sequence[Job], done: Mapping[str, Done], command: str, quick: bool, seeds: Sequence[int]
    ) -> Provenance:
        """That of finished jobs."""
        made = dict.fromkeys(tuple(done[job.key].made_with.items()) for job in jobs)
        listed = [{"key": job.key, "function": job.function.__name__, "arguments": dict(job.arguments)} for job in jobs]
        return cls(command, quick, tuple(seeds), tuple(dict(pairs) for pairs in made), tuple(listed))

    @classmethod
    def recorded(cls, folder: Path) -> Provenance:
        """That of the results in a folder.

        Raises:
            DamagedFileError: If claims.json is damaged.
            OSError: If there is none.
        """
        said = read_sealed(folder / CLAIMS, _REMEDY)
        return cls(said["command"], said["quick"], tuple(said["seeds"]), tuple(said["made_with"]), tuple(said["jobs"]))


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
    write_atomically(folder / DATA, to_csv(study.data(rows, quick)).encode())
    return write_page(study, folder, Provenance.of_jobs(jobs, done, command, quick, seeds))


def rewrite_study(study: Study, out: Path) -> list[Claim]:
    """Write everything in `out`/NAME but the rows again by the present code; returns the claims.

    The statistics of a study that has `data_from` are made again too, from the data.csv of those studies in `out`.

    Raises:
        DamagedFileError: If a claims.json is damaged.
        OSError: If the results, or those of a study in `data_from`, are not in `out`.
    """
    folder = out / study.name
    made = Provenance.recorded(folder)
    if study.data_from:
        rows = [row for name in study.data_from for row in read_csv(out / name / DATA)]
        write_atomically(folder / DATA, to_csv(study.data(rows, made.quick)).encode())
    return write_page(study, folder, made)


def write_page(study: Study, folder: Path, made: Provenance) -> list[Claim]:
    """Write the figure, claims.json and page.md from the data.csv in `folder`; returns the claims."""
    data = read_csv(folder / DATA)
    figure = styled(study.draw)(data, made.quick)
    if figure is not None:
        save_figure(figure, folder / "figure")
    claims = study.claims(data, made.quick)
    write_atomically(folder / "page.md", page_text(study, data, claims, made, figure is not None).encode())
    write_atomically(folder / CLAIMS, claims_text(study.title, claims, made).encode())
    return claims


def page_text(study: Study, data: Rows, claims: Sequence[Claim], made: Provenance, has_figure: bool) -> str:
    """page.md."""
    parts = [f"# {study.title}", study.setting(made.quick)]
    if has_figure:
        parts.append(f"![{study.title}](figure.png)")
    if claims:
        parts += ["## The paper's statements", claims_table(claims)]
    if table := study.table(data, made.quick):
        parts += ["## Numbers", table]
    parts += ["## How this was made", _provenance(made)]
    return "\n\n".join(parts) + "\n"


def claims_text(title: str, claims: Sequence[Claim], made: Provenance) -> str:
    """claims.json."""
    said = {"title": title, **asdict(made), "claims": [asdict(claim) for claim in claims]}
    return json.dumps(sealed(said), indent=1)


def is_of_full_setting(folder: Path) -> bool:
    """Whether a folder holds results of the full setting."""
    path = folder / CLAIMS
    return path.is_file() and not read_sealed(path, _REMEDY)["quick"]


def write_index(names: Iterable[str], out: Path) -> None:
    """Write an index page with the claims of the named studies that are in `out`, with verdicts and links."""
    write_atomically(out / "README.md", index_text(names, out).encode())


def index_text(names: Iterable[str], out: Path) -> str:
    """README.md of the folder of all studies."""
    parts = ["# The papers, reproduced"]
    for name in names:
        path = out / name / CLAIMS
        if path.is_file():
            said = read_sealed(path, _REMEDY)
            claims = [Claim(**claim) for claim in said["claims"]]
            parts += [f"## [{said['title']}]({name}/page.md)", f"`{said['command']}`"]
            parts.append(claims_table(claims, rules=False) if claims else "No statement to judge.")
    return "\n\n".join(parts) + "\n"


def claims_table(claims: Sequence[Claim], rules: bool = True) -> str:
    """Paper, measured, verdict and rule, as Markdown."""
    header = ["the paper says", "measured here", "verdict", "rule"]
    rows = [[c.paper, c.measured, f"**{c.verdict}**", c.rule] for c in claims]
    kept = len(header) if rules else -1
    return markdown_table(header[:kept], [row[:kept] for row in rows])


def _provenance(made: Provenance) -> str:
    versions = [", ".join(f"{name} {version}" for name, version in with_.items()) for with_ in made.made_with]
    lines = [
        f"Command: `{made.command}`",
        f"Seeds: {', '.join(map(str, made.seeds))}",
        *(f"Rows made with: {version}" for version in versions),
    ]
    cells = [
        (f"`{job['key']}`", job["function"], f"`{json.dumps(dict(job['arguments']), sort_keys=True)}`")
        for job in made.jobs
    ]
    listed = markdown_table(("configuration hash", "job", "arguments"), cells)
    return "\n".join(f"- {line}" for line in lines) + (
        f"\n\n<details><summary>{len(cells)} jobs, as the version that ran them names their arguments</summary>\n\n"
        f"{listed}\n\n</details>"
    )
