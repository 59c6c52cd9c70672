"""Everything that the papers are asked for, in the quick setting, from an empty folder by the command line."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from prune_env.studies.catalogue import STUDIES

VERDICTS = {"agrees", "disagrees", "cannot be decided"}


@pytest.mark.slow
def test_reproduce_all_quick(tmp_path):
    environment = {**os.environ, "PRUNE_ENV_CACHE": str(tmp_path / "cache"), "PRUNE_ENV_DATA": str(tmp_path / "data")}
    command = [str(Path(sys.executable).parent / "prune-env"), "reproduce", "all", "--quick"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=900)
    out = tmp_path / "runs" / "papers"
    assert sorted(p.name for p in out.iterdir()) == sorted([*STUDIES, "README.md"])
    index = (out / "README.md").read_text()
    for name, study in STUDIES.items():
        assert f"[{study.title}]({name}/page.md)" in index
        page = (out / name / "page.md").read_text()
        assert page.startswith(f"# {study.title}\n") and f"`prune-env reproduce {name} --quick`" in page
        assert re.search(r"^- Seeds: \d", page, re.MULTILINE) and re.search(
            r"^\| `[0-9a-f]{16}` \|", page, re.MULTILINE
        )
        judged = [line.split(" | ") for line in page.splitlines() if re.search(r"\| \*\*[a-z ]+\*\* \|", line)]
        assert judged and {cells[2].strip("*") for cells in judged} <= VERDICTS
        assert (out / name / "figure.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (out / name / "figure.svg").read_text()
        with (out / name / "data.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) > 1
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=600)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
