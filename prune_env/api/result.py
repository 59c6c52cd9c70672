"""What `prune` returns: the smaller network, and how to take it home."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from prune_env.api.page import write_page
from prune_env.api.report import Report
from prune_env.export import save_pruned
from prune_env.export.latency import BATCHES, Call, Latency, compare_calls, compare_torch
from prune_env.export.onnx import OnnxFiles, OnnxModule, export_onnx, open_session, run_session
from prune_env.open_sets import find
from prune_env.storage import write_atomically
from prune_env.targets import Target


@dataclass(frozen=True)
class Pruned:
    """A pruned network.

    Attributes:
        model: The network, physically smaller.
        report: What went, what it costs and scores before and after, and what was tried.
        target: The task.
        dense: The dense network, for comparisons.
    """

    model: nn.Module
    report: Report
    target: Target
    dense: nn.Module

    def save(self, folder: str | Path) -> Path:
        """Write the network and its report into a folder, from which `load_pruned` makes it; nothing is pickled.

        Files in the task's own format come with it: `agent.zip` of an agent of Stable-Baselines3, which SB3 loads (and
        unpickles, as it does its own).

        Raises:
            ValueError: If the network holds state that is no tensor.
            OSError: If it cannot be written.
        """
        folder = save_pruned(self.model, folder, self.report.asdict())
        for name, content in self.target.files(self.model).items():
            write_atomically(folder / name, content)
        return folder

    def write_page(self, folder: str | Path) -> Path:
        """Write the report as an HTML page, `index.html`, and return its path.

        Raises:
            OSError: If it cannot be written.
        """
        return write_page(self.report, folder)

    def export_onnx(
        self,
        path: str | Path,
        entry_points: Sequence[str] | None = None,
        *,
        int8: bool = False,
        calibration: Iterable[Any] | None = None,
    ) -> OnnxFiles:
        """Write entry points as ONNX, each checked in onnxruntime on random inputs to 1e-5.

        Where the score calls exported entry points alone, as for agents of Stable-Baselines3, it is measured in
        onnxruntime, too: `scores["float"]`, and `scores["int8"]` of the 8-bit files.

        Args:
            path: Of the file; with several entry points their names are put before the suffix.
            entry_points: Names of those to export; by default all.
            int8: Write files with 8-bit weights, too.
            calibration: Arguments of the entry point for ranges of 8-bit activations, such as a few batches of inputs.

        Raises:
            ImportError: If the extra `onnx` is not installed.
            OnnxError: If an entry point cannot be exported, or computes something else in onnxruntime.
            ValueError: If an entry point is unknown, or there is none.
            OSError: If a file cannot be written.
        """
        points = self.target.entry_points(self.model)
        if entry_points is not None:
            points = {name: find("entry point", name, points) for name in entry_points}
        files = export_onnx(self.model, points, path, calibration, int8)
        scores: dict[str, float] = {}
        for kind, paths in (("float", files.paths), ("int8", files.int8)):
            score = self.target.score_exported(OnnxModule(paths), "test") if paths else None
            if score is not None:
                scores[kind] = score
        return replace(files, scores=scores)

    def measure_latency(
        self, batches: Sequence[int] = BATCHES, engines: Sequence[str] = ("torch", "onnxruntime")
    ) -> list[Latency]:
        """Time every entry point of the dense and the pruned network in turns, and put the times into the report.

        Args:
            batches: Samples of a call.
            engines: "torch" and "onnxruntime".

        Raises:
            ImportError: If onnxruntime is asked for and not installed.
            OnnxError: If an entry point cannot be exported.
            ValueError: If an engine is unknown.
        """
        for engine in engines:
            find("engine", engine, dict.fromkeys(("torch", "onnxruntime")))
        found: list[Latency] = []
        if "torch" in engines:
            found += compare_torch(self.target, self.dense, self.model, batches)
        if "onnxruntime" in engines:
            before, after = (self._onnx_calls(model, batches) for model in (self.dense, self.model))
            found += compare_calls("onnxruntime", before, after)
        self.report.latency[:] = found
        return found

    def _onnx_calls(self, model: nn.Module, batches: Sequence[int]) -> dict[tuple[str, int], Call]:
        calls: dict[tuple[str, int], Call] = {}
        with TemporaryDirectory() as folder:
            points = self.target.entry_points(model)
            files = export_onnx(model, points, Path(folder) / "timed.onnx")
            for name, path in files.paths.items():
                session = open_session(path)
                sizes = [1] if name in files.fixed_batch else batches
                calls |= {(name, n): partial(run_session, session, points[name].batch(n)) for n in sizes}
        return calls

    def __str__(self) -> str:
        return str(self.report)
