"""What is left at 30 % of the parameters, by four policies: score, file, latency; and which widths get faster."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

import prune_env
from prune_env.api import Pruned
from prune_env.export.latency import compare_calls, torch_calls
from prune_env.export.onnx import export_onnx, open_session, run_session
from prune_env.studies.take_home.networks import SUBJECTS
from prune_env.targets import ModuleTarget

POLICIES = ("uniform", "gradient", "fisher", "global-l2-rel")
BUDGET = 0.7
WIDTHS = (32, 64, 128, 256, 512, 1024)
_SHARE = 0.55  # of the channels, which leaves about 30 % of the parameters of a layer between two others


def classifier_rows(steps: int, seeds: int) -> list[dict[str, Any]]:
    """The digits classifier with residuals."""
    subject = SUBJECTS["classifier"]()
    train = subject.functions["batches"]
    functions = {**subject.functions, "batches": lambda: [train[i] for i in torch.randperm(len(train))]}

    def pruned(policy: str, seed: int) -> Pruned:
        chosen: dict[str, Any] = {"budget": BUDGET, "policy": policy, "steps": steps, "seed": seed, "progress": False}
        return prune_env.prune(subject.model, **functions, **chosen)

    return [_row(subject.name, policy, [pruned(policy, seed) for seed in range(seeds)]) for policy in POLICIES]


def controller_rows(steps: int, seeds: int) -> list[dict[str, Any]]:
    """The TD-MPC controller of Gymnasium's pendulum that ships; it acts by its policy."""

    def pruned(policy: str, seed: int) -> Pruned:
        chosen: dict[str, Any] = {"budget": BUDGET, "policy": policy, "steps": steps, "seed": seed, "progress": False}
        return prune_env.prune("tdmpc", options={"controller": "policy"}, **chosen)

    name = "TD-MPC controller, pendulum"
    return [_row(name, policy, [pruned(policy, seed) for seed in range(seeds)]) for policy in POLICIES]


def _row(name: str, policy: str, results: list[Pruned]) -> dict[str, Any]:
    first = results[0]
    times = first.measure_latency((1, 16))
    entry = times[0].entry
    return {
        "network": name,
        "policy": policy,
        "R": [result.report.retained for result in results],
        "sparsity": first.report.sparsity,
        "bytes": list(first.report.size),
        "latency": {
            f"{t.engine}, {t.batch}": [
                [1e6 * x for x in (timing.median, timing.low, timing.high)] for timing in (t.before, t.after)
            ]
            for t in times
            if t.entry == entry
        },
    }


def width_rows() -> list[dict[str, Any]]:
    """Three equal layers of each width, and the same with 55 % of the channels: how much faster."""
    rows = []
    for width in WIDTHS:
        x = torch.zeros(1, width)
        models = [_layers(width, width), _layers(width, round(_SHARE * width))]
        targets = [ModuleTarget(m, example=x, score=lambda model: 1.0) for m in models]
        row: dict[str, Any] = {"width": width}
        before, after = (torch_calls(t, m, (1, 16)) for t, m in zip(targets, models, strict=True))
        for timing in compare_calls("torch", before, after):
            row[f"torch, {timing.batch}"] = timing.speedup
        with tempfile.TemporaryDirectory() as folder:
            calls = []
            for i, (target, model) in enumerate(zip(targets, models, strict=True)):
                points = target.entry_points(model)
                files = export_onnx(model, points, Path(folder) / f"{i}.onnx")
                session, point = open_session(files.paths["forward"]), points["forward"]
                calls.append({("forward", n): _bound(session, point.batch(n)) for n in (1, 16)})
        for timing in compare_calls("onnxruntime", calls[0], calls[1]):
            row[f"onnxruntime, {timing.batch}"] = timing.speedup
        rows.append(row)
    return rows


def _bound(session: Any, arguments: Any) -> Any:
    return lambda: run_session(session, arguments)


def _layers(given: int, hidden: int) -> nn.Module:
    return nn.Sequential(
        *(nn.Linear(given, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, given))
    )
