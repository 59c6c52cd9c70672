"""`prune-env prune` and `latency`: a smaller network to take home, and how long networks take on this machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from prune_env.cli.shared import Name, Options, add_row, check_at_least, console, new_table, out_folder, say
from prune_env.cli.shared import parse_options as parsed
from prune_env.storage import expanded, write_atomically
from prune_env.targets import Target


def prune(
    subject: Name,
    keep: float | None = None,
    budget: float | None = None,
    unit: str = "parameters",
    policy: str = "best",
    rounds: int = 1,
    steps: int | None = None,
    protect: tuple[str, ...] = (),
    min_channels: int = 1,
    round_to: int = 1,
    criterion: str | None = None,
    repair: str | None = None,
    seed: int = 0,
    out: Path = Path("runs/pruned"),
    onnx: bool = False,
    int8: bool = False,
    env: str | None = None,
    trust: bool = False,
    options: Options = (),
) -> None:
    """Prune a network and write the smaller one, with a report page; --keep 0.95 if neither it nor --budget is given.

    Args:
        subject: Name of a target (`prune-env list targets`), or FILE.py:NAME, your own Target, ModuleTarget, or
            function that returns one; or the zip of an agent of Stable-Baselines3, with --env.
        keep: Share of the score to keep; the largest sparsity that keeps it is looked for.
        budget: Sparsity to end at, instead.
        unit: What is counted: parameters, macs, latency.
        policy: A policy by name, the path of a saved one, or best.
        rounds: Rounds of cutting and fine-tuning.
        steps: Training steps after each cut.
        protect: Components and groups that are never cut.
        min_channels: Channels that every group keeps.
        round_to: Widths that shrink are multiples of this.
        criterion: Which channels go first, see `prune-env list criteria`.
        repair: What is done right after a cut, see `prune-env list repairs`.
        seed: Of batches and random policies.
        out: Folder of the network and its report.
        onnx: Write every entry point as ONNX, too.
        int8: Write ONNX files with 8-bit weights, too.
        env: Environment in which an agent is scored, e.g. Pendulum-v1, or my_module:MyEnv-v0.
        trust: Unpickle the file of an agent, which runs what is in it: for your own, and those of whom you trust.
        options: Options of the target, e.g. latent_dim=8 data=mnist; of an agent e.g. episodes=50 critics=true.
    """
    from prune_env.api import prune as prune_network

    check_at_least(1, rounds=rounds, min_channels=min_channels, round_to=round_to)
    check_at_least(0, steps=steps, seed=seed)
    folder = out_folder(out)
    result = prune_network(
        _subject(subject),
        options=parsed(options),
        keep=0.95 if keep is None and budget is None else keep,
        budget=budget, budget_unit=unit, policy=policy, rounds=rounds, steps=steps, protect=protect,
        min_channels=min_channels, round_to=round_to, criterion=criterion, repair=repair, seed=seed,
        env=env, trust=trust,
    )  # fmt: skip
    if onnx or int8:
        files = result.export_onnx(folder / "model.onnx", int8=int8)
        result.report.notes += [
            f"{name} computes the same in onnxruntime, to {files.errors[name]:.1g}: {path.name}"
            for name, path in files.paths.items()
        ]
        result.report.notes += [f"score in onnxruntime, {kind}: {score:.6g}" for kind, score in files.scores.items()]
    result.save(folder)
    path = result.write_page(folder)
    say(str(result))
    for name in result.target.files(result.model):
        say(f"in the format of the task: {folder / name}")
    say(f"report: {path}\nload it: prune_env.load_pruned({str(folder)!r}, model=...) with a dense instance")


def latency(subject: Name, again: bool = False, out: Path | None = None, options: Options = ()) -> None:
    """Measure how long a target's network takes at many widths on this machine, for budgets in latency.

    The table is kept; `budget_unit="latency"` uses it.

    Args:
        subject: Name of a target, or FILE.py:NAME.
        again: Measure anew what was measured before.
        out: Write all widths and times into this CSV file, too.
        options: Options of the target.
    """
    from prune_env.api.subjects import network_of
    from prune_env.export.latency_table import CHECKED, latency_table

    network = network_of(_subject(subject), {}, parsed(options), seed=0, protect=())
    table = latency_table(network, again)
    rows = new_table(
        "share of every width", "parameters", "MACs", "predicted us", numbers=("parameters", "MACs", "predicted us")
    )
    for share in (1.0, 0.75, 0.5, 0.25, 0.1):
        least, full = network.grouping.least, network.grouping.widths
        widths = np.maximum(np.round(share * full), least).astype(np.int64)
        cost, time = network.cost(widths), float(table.predict(network.cost, widths))
        add_row(rows, f"{share:.0%}", f"{int(cost.parameters):,}", f"{int(cost.macs):,}", f"{1e6 * time:,.1f}")
    console.print(rows)
    errors = np.abs(table.errors(network.cost))
    say(
        f"dense, measured: {1e6 * table.dense:,.1f} us; on {CHECKED} random networks that the fit has not seen it is "
        f"off by {np.median(errors):.1%} (median) and {errors.max():.1%} (most)"
    )
    if out is not None:
        lines = [",".join([*table.groups, "measured_us", "predicted_us"])]
        predicted = table.predict(network.cost, np.asarray(table.widths))
        for widths_, time, guess in zip(table.widths, table.times, predicted, strict=True):
            lines.append(",".join([*map(str, widths_), f"{1e6 * time:.2f}", f"{1e6 * guess:.2f}"]))
        write_atomically(expanded(out), ("\n".join(lines) + "\n").encode())
        say(f"table: {out}")


def _subject(text: str) -> Any:
    """A target's name as it is; what FILE.py:NAME stands for."""
    file, colon, name = text.rpartition(":")
    if not colon or not file.endswith(".py"):
        return text
    path = expanded(file)
    if not path.is_file():
        raise ValueError(f"there is no file {file!r}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    made = found() if callable(found) else found
    if not isinstance(made, Target):
        raise ValueError(
            f"{name!r} in {file} must be a Target, or a class or function that makes one; got {made!r:.100}"
        )
    return made
