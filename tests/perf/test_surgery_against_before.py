"""Cutting and restoring must not become slower: this version against an earlier commit, in alternating processes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

import pytest

pytestmark = pytest.mark.perf

BEFORE = "48a8c6a"
"""The last commit before groups were proved by values."""

TURNS = 9

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("cut_and_reset.py")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as it was at that commit."""
    archive = ["git", "-C", str(ROOT), "archive", BEFORE, "prune_env", "agents", "baselines"]
    done = subprocess.run(archive, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this copy of the repository does not have commit {BEFORE}")
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


@contextmanager
def stopwatch(path: Path, kind: str) -> Iterator[Callable[[], dict[str, float]]]:
    """A process that measures the version at `path` each time it is asked to."""
    environment = {**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), kind]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True, env=environment) as process:

        def measure() -> dict[str, float]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("again\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield measure


@pytest.mark.parametrize("kind", ["autoencoder", "deep", "convolutions"])
def test_cut_and_reset_are_as_fast_as_before(before: Path, kind: str) -> None:
    """The versions take turns; the least processor time of each counts, as neighbours only add to it."""
    with stopwatch(before, kind) as old, stopwatch(ROOT, kind) as new:
        turns = [(old(), new()) for _ in range(TURNS)]
    ratios = {}
    for what in turns[0][0]:
        then, now = (min(turn[i][what] for turn in turns) for i in (0, 1))
        ratios[what] = now / then
        print(
            f"\n{kind}, {what}: {1e3 * then:.2f} ms before, {1e3 * now:.2f} ms now, x {ratios[what]:.2f}",
            end="",
        )
    assert max(ratios.values()) <= 1.1, ratios
