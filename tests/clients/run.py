"""Run prune_env with its clients, each in a process of its own: one line for each, status 1 if one fails.

    python tests/clients/run.py [CLIENT ...] [--page docs/clients.md]

`--page` writes the lines as a table into that page, between two marks.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

MODULES = ("sb3_clients", "torch_clients", "ray_clients", "gymnasium_clients")
LIMIT = 900  # [s] for one client; rl-zoo3, which starts a process for each of its commands, takes the longest
BEGIN, END = "<!-- by tests/clients/run.py -->\n", "<!-- end -->\n"


@dataclass(frozen=True)
class Row:
    """What became of one client."""

    name: str
    version: str
    said: str
    ok: bool
    seconds: float

    def line(self) -> str:
        """For the terminal."""
        return f"{self.name} {self.version}: {self.said}: {self.outcome} ({self.seconds:.0f} s)"

    def row(self) -> str:
        """For the page."""
        return f"| {self.name} | {self.version} | {self.said} | {self.outcome} | {self.seconds:.0f} |"

    @property
    def outcome(self) -> str:
        """In a word."""
        return "ok" if self.ok else "failed"


def cases() -> dict[str, tuple[str, Callable[[], str]]]:
    """Client -> its package, and the function that runs it and says what it did."""
    found: dict[str, tuple[str, Callable[[], str]]] = {}
    for module in MODULES:
        found |= import_module(module).CASES
    return found


def run(name: str, package: str, cache: Path) -> Row:
    """Run a client in a process of its own, with a cache of dense networks that starts empty and all clients share."""
    begun = time.monotonic()
    try:
        release = version(package)
    except PackageNotFoundError:
        return Row(name, "-", f"{package} is not installed", False, 0.0)
    environment = os.environ | {"PRUNE_ENV_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, __file__, "--here", name]
    try:
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=LIMIT)
        ok, lines = done.returncode == 0, (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
        if not ok:
            print(done.stderr[-3000:], file=sys.stderr)
        said = lines[-1] if lines else f"status {done.returncode}"
    except subprocess.TimeoutExpired:
        ok, said = False, f"not done after {LIMIT} s"
    return Row(name, release, said, ok, time.monotonic() - begun)


def write_table(rows: list[Row], page: Path) -> None:
    """Replace what stands between the two marks of a page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{page} needs the lines {BEGIN.strip()} and {END.strip()}, between which the table goes")
    packages = ("gymnasium", "torch", "numpy")
    setting = ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)])
    table = [
        f"{setting}.",
        "",
        "| client | version | what was done | | seconds |",
        "|---|---|---|---|---:|",
        *(row.row() for row in rows),
    ]
    page.write_text(before + begin + "\n".join(table) + "\n" + end + after, encoding="utf-8")


def main() -> int:
    """Status 1 if a client fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clients", nargs="*", help="by default all")
    parser.add_argument("--page", type=Path, help="write the table into this file")
    parser.add_argument("--here", help="run this client in this process")
    arguments = parser.parse_args()
    known = cases()
    if arguments.here:
        print(known[arguments.here][1]())
        return 0
    if unknown := set(arguments.clients) - set(known):
        parser.error(f"unknown client {', '.join(sorted(unknown))} (known: {', '.join(known)})")
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for name in arguments.clients or known:
            rows.append(run(name, known[name][0], Path(cache)))
            print(rows[-1].line(), flush=True)
    if arguments.page:
        write_table(rows, arguments.page)
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
