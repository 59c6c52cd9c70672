"""Write the table of public models, `docs/groups/models.md`: `python tests/models/make_table.py`."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import zoo

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs" / "groups" / "models.md"
PACKAGES = (
    "torch",
    "torch-pruning",
    "timm",
    "transformers",
    "diffusers",
    "stable-baselines3",
    "sb3-contrib",
    "segmentation-models-pytorch",
    "torch_geometric",
    "vit-pytorch",
)
VERDICTS = ("masked", "duplicated", "two steps", "unproved", "insensitive", "wrong", "nothing to cut")
TEXT = """# Public models

Models of public packages with random weights in small configurations, each discovered, cut and compared. They are
installed for this table and are no dependencies. Made by `make test-models`, which runs
`python tests/models/make_table.py`.

- **prunable**: share of the parameters that lie in at least one slice of a prunable group; tied ones count once.
- **left**: parameters left once every group has lost half of its channels (ratio 0.5).
- **torch-pruning**: the same by its `MetaPruner` with `GroupMagnitudeImportance` at ratio 0.5, output layers ignored,
  else with its defaults (it is not told of attention heads) and for 20 seconds at most; where it fails, how; "does not
  run": it cuts, and the cut network raises.
- **values**: how many groups agree, after a cut to half of their channels, with which independent reference, in double
  precision (s: in single, where the model insists on it): m, the dense network with the removed channels masked;
  d, with each removed channel a duplicate of a kept one that nobody reads (exact for normalisation over channels);
  t, a cut in two steps equals one step (for what neither of them covers: the weakest). d and t count only if the
  outputs do not depend on the order of the channels. unproved: two channels, and not like the masked network, so that
  none of these can tell; insensitive: masking half of its channels changes no output of this sample.
- **seconds**: discovery with all proofs, on one core of a machine that others used too.

"""


def measured(key: str, limit: float) -> dict[str, Any]:
    """The row of one model, from a process of its own; `failed` says why there is none."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(HERE / "measuring.py"), key]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return {"model": key, "failed": f"no answer in {limit:.0f} s"}
    for line in done.stdout.splitlines():
        if line.startswith("ROW "):
            return json.loads(line[4:])
    return {"model": key, "failed": (done.stderr.strip().splitlines() or ["no output"])[-1]}


def below(row: dict[str, Any]) -> str | None:
    """What is wrong with a row, or short of its bar; None if nothing is."""
    if failed := row.get("failed"):
        return f"fails: {failed}"
    if row["wrong"]:
        return f"cut wrongly: {row['wrong']}"
    if row["share"] < row["bar"]:
        locked = "; ".join(
            f"{share:.2f} {reason} ({', '.join(names[:3])})" for share, reason, names in row["reasons"][:3]
        )
        return f"{row['share']:.3f} of its parameters are prunable, less than {row['bar']}: {locked}"
    return None


def _because(reason: tuple[float, str, list[str]]) -> str:
    share, why, names = reason
    return f"{share:.2f} {why} ({', '.join(names[:3])})"


def page(rows: list[dict[str, Any]]) -> str:
    """The whole document."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    lines = [TEXT, f"Python {platform.python_version()}, {versions}.\n", ""]
    lines += ["| model | parameters | groups | locked | prunable | left | torch-pruning | values | seconds |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        name = row["model"].replace(":", ": ")
        if "failed" in row:
            lines.append(f"| {name} | | | | | | | {row['failed']} | |")
            continue
        verdicts = row["verdicts"]
        short = dict(zip(VERDICTS, ("m", "d", "t", "unproved", "insensitive", "wrong", "not cut"), strict=True))
        values = ", ".join(f"{verdicts[k]} {v}" for k, v in short.items() if k in verdicts)
        values += ", s" if row.get("precision") == "single" else ""
        bar = f" (bar {row['bar']})" if row["bar"] else ""
        lines.append(
            f"| {name} | {row['parameters']:,} | {row['groups']} | {row['locked']} | {row['share']:.3f}{bar} | "
            f"{row['left']:.2f} | {row['theirs']} | {values} | {row['seconds']:.1f} |"
        )
    good = [row for row in rows if "failed" not in row]
    counts = {k: sum(row["verdicts"].get(k, 0) for row in good) for k in VERDICTS}
    lines += ["", f"{len(good)} models, {sum(row['groups'] for row in good)} groups: {counts}.", ""]
    lines += ["## What falls short, and why", ""]
    short_of = [(row["model"], text) for row in rows if (text := below(row))]
    lines += [f"- **{name}**: {text}" for name, text in short_of] or ["Nothing."]
    lines += ["", "## Why what is locked is locked", ""]
    lines += [
        "Share of the parameters that only locked groups of this reason hold, the reason, some of the groups.",
        "",
    ]
    for row in good:
        if big := [r for r in row["reasons"] if r[0] >= 0.02]:
            lines.append(
                f"- **{row['model']}**: " + "; ".join(f"{s:.2f} {r} ({', '.join(n[:3])})" for s, r, n in big[:4])
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the models one after another; what is measured is kept in a file of JSON lines beside the document."""
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", help="only those that contain one of these words")
    parser.add_argument("--rows", type=Path, help="JSON lines of what is measured; models that it has are skipped")
    parser.add_argument("--out", type=Path, default=DOCS)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for one model")
    options = parser.parse_args()
    rows: dict[str, dict[str, Any]] = {}
    if options.rows and options.rows.exists():
        rows = {row["model"]: row for row in map(json.loads, options.rows.read_text().splitlines())}
    chosen = [k for k in zoo.names() if not options.models or any(word in k for word in options.models)]
    for key in chosen:
        if key not in rows:
            begun = time.perf_counter()
            rows[key] = measured(key, options.limit)
            print(f"{key}: {time.perf_counter() - begun:.0f} s, {below(rows[key]) or 'good'}", flush=True)
            if options.rows:
                with options.rows.open("a") as file:
                    file.write(json.dumps(rows[key]) + "\n")
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(page([rows[k] for k in chosen if k in rows]))


if __name__ == "__main__":
    main()
