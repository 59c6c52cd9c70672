"""`python -m prune_env.studies.take_home`: measure, and write docs/prune/measured.md.

Parts that are measured are kept in a JSON file beside the page; remove an entry to measure it again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from prune_env.export.latency_table import machine_facts
from prune_env.storage import write_atomically
from prune_env.studies.take_home.beside_torch_pruning import beside_torch_pruning
from prune_env.studies.take_home.networks import SUBJECTS
from prune_env.studies.take_home.page import page
from prune_env.studies.take_home.sizes_and_times import classifier_rows, controller_rows, width_rows

STEPS, SEEDS = 50, 3


def _speed(name: str) -> list[dict[str, Any]]:
    return [beside_torch_pruning(SUBJECTS[name](), STEPS)]


PARTS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    **{f"speed of {name}": partial(_speed, name) for name in ("autoencoder", "resnet-18", "transformer")},
    "classifier": lambda: classifier_rows(STEPS, SEEDS),
    "controller": lambda: controller_rows(STEPS, SEEDS),
    "widths": width_rows,
}


def main(folder: Path = Path("docs/prune"), parts: tuple[str, ...] = ()) -> None:
    """Measure what is not there yet, and write the page."""
    path = folder / "measured.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    for name, measure in PARTS.items():
        if name not in known and (not parts or name in parts):
            rows = measure()
            known = json.loads(path.read_text()) if path.is_file() else known
            known[name] = rows
            known["machine"] = {k: v for k, v in machine_facts().items() if k != "node"}
            write_atomically(path, json.dumps(known, indent=1).encode())
            print(name, json.dumps(rows))
    write_atomically(folder / "measured.md", page(known, STEPS, SEEDS).encode())


if __name__ == "__main__":
    main(parts=tuple(sys.argv[1:]))
