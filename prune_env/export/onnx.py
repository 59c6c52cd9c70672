"""Pruned networks as ONNX: every entry point a file, each checked against torch on random inputs."""

from __future__ import annotations

import io
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from prune_env.groups.tracing.replica import copied
from prune_env.isolation import isolated
from prune_env.storage import expanded, write_atomically
from prune_env.targets import EntryPoint

TOLERANCE = 1e-5
"""How far torch and onnxruntime may lie apart, as a share of the largest output, or of 1 if that is larger."""
_CHECKS = (1, 2, 5)  # batch sizes of the random inputs
_INSTALL = "install the extra 'onnx': pip install 'prune_env[onnx]'"


class OnnxError(RuntimeError):
    """A network cannot be exported, or computes something else in onnxruntime; the entry point is named."""


@dataclass(frozen=True)
class OnnxFiles:
    """What `export_onnx` wrote.

    Attributes:
        paths: File of each entry point.
        errors: Largest difference from torch, by entry point; see `TOLERANCE`.
        fixed_batch: Entry points whose files take one sample at a time only.
        int8: Files with 8-bit weights, by entry point; empty unless asked for.
        scores: Score of the task in onnxruntime: of "float" files and of "int8" files; empty where it is not known.
    """

    paths: dict[str, Path]
    errors: dict[str, float]
    fixed_batch: tuple[str, ...] = ()
    int8: dict[str, Path] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


class OnnxModule(nn.Module):
    """Exported entry points as a module: "forward" when it is called, the others as its methods.

    Args:
        paths: Files by entry point.
    """

    def __init__(self, paths: Mapping[str, Path]):
        super().__init__()
        self._sessions = {name: open_session(path) for name, path in paths.items()}

    def run(self, name: str, *arguments: Tensor) -> Any:
        """What an entry point answers: a tensor, or a tuple of several."""
        outputs = tuple(torch.from_numpy(x) for x in run_session(self._sessions[name], arguments))
        return outputs[0] if len(outputs) == 1 else outputs

    def forward(self, *arguments: Tensor) -> Any:
        """The entry point "forward"."""
        return self.run("forward", *arguments)

    def __getattr__(self, name: str) -> Any:
        sessions = self.__dict__.get("_sessions", {})
        return (lambda *arguments: self.run(name, *arguments)) if name in sessions else super().__getattr__(name)


@isolated()
def export_onnx(
    model: nn.Module, points: Mapping[str, EntryPoint], path: str | Path, calibration: Iterable[Any] | None = None,
    int8: bool = False,
) -> OnnxFiles:  # fmt: skip
    """Write entry points of a network as ONNX, by torch's dynamo exporter, and check each in onnxruntime.

    Args:
        model: The network; it is left as it is.
        points: What to export; all of it, or nothing is written.
        path: Of the file, or with several entry points of files with their names before the suffix: `path-NAME.onnx`.
        calibration: Arguments of the (single) entry point, from which int8 activations get their ranges; without them
            ranges are found anew in each call.
        int8: Write files with 8-bit weights, too: `path-int8.onnx`.

    Raises:
        ImportError: If the extra `onnx` is not installed.
        OnnxError: If an entry point cannot be exported, or onnxruntime computes something else.
        ValueError: If there is no entry point.
        OSError: If a file cannot be written.
    """
    path = expanded(path)
    _check_installed()
    if not points:
        raise ValueError(
            "there is no entry point to export: give entry_points={'forward': example}, or implement "
            "Target.entry_points(model)"
        )
    copy = copied(model).cpu().eval()
    contents, errors, fixed = {}, {}, []
    for name, point in points.items():
        contents[name], errors[name], flexible = _export(copy, name, point)
        if not flexible:
            fixed.append(name)
    paths = {name: _path(path, name if len(points) > 1 else "") for name in points}
    for name, content in contents.items():
        write_atomically(paths[name], content)
    small = {}
    if int8:
        for name, point in points.items():
            small[name] = _path(paths[name], "int8")
            write_atomically(small[name], _quantized(contents[name], point, calibration))
    return OnnxFiles(paths, errors, tuple(fixed), small)


def open_session(path: Path | bytes) -> Any:
    """An onnxruntime session on one thread of the CPU.

    Raises:
        ImportError: If onnxruntime is not installed.
    """
    _check_installed()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    model = path if isinstance(path, bytes) else str(path)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_session(session: Any, arguments: Sequence[Tensor]) -> list[np.ndarray]:
    """Outputs of a session; an input that the network does not use is left out of its file."""
    names = [given.name for given in session.get_inputs()]
    feed = {f"x{i}": x.detach().cpu().numpy() for i, x in enumerate(arguments) if f"x{i}" in names}
    return session.run(None, feed)


class _Wrapped(nn.Module):
    """An entry point as a module, which is what the exporter takes."""

    def __init__(self, model: nn.Module, point: EntryPoint):
        super().__init__()
        self.model, self._call = model, point.call

    def forward(self, *arguments: Tensor) -> Any:
        return self._call(self.model, *arguments)


def _export(model: nn.Module, name: str, point: EntryPoint) -> tuple[bytes, float, bool]:
    """The file, the largest difference from torch, and whether it takes batches of any size."""
    errors = []
    for flexible in (True, False):
        try:
            content = _exported(_Wrapped(model, point).eval(), point, flexible)
            return content, _difference(content, model, point, _CHECKS if flexible else (1,)), flexible
        except Exception as error:
            errors.append(" ".join(str(error).split())[:300])
    raise OnnxError(f"entry point {name!r} cannot be exported: {errors[-1]}")


def _exported(module: nn.Module, point: EntryPoint, flexible: bool) -> bytes:
    arguments = tuple(x.cpu() for x in point.batch(2 if flexible else 1))
    shapes = None
    if flexible:
        batch = torch.export.Dim("batch")
        shapes = (tuple({0: batch} if x.dim() else None for x in arguments),)
    names = [f"x{i}" for i in range(len(arguments))]
    with _quiet(), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        program = torch.onnx.export(
            module, arguments, dynamo=True, dynamic_shapes=shapes, input_names=names, verbose=False
        )
        assert program is not None
        file = Path(folder) / "model.onnx"
        program.save(str(file), external_data=False)
        return file.read_bytes()


def _difference(content: bytes, model: nn.Module, point: EntryPoint, batches: Sequence[int]) -> float:
    session, worst = open_session(content), 0.0
    generator = torch.Generator().manual_seed(0)
    for batch in batches:
        arguments = [_random(x.cpu(), generator) for x in point.batch(batch)]
        with torch.no_grad():
            expected = [x for x in tree_leaves(point.call(model, *arguments)) if isinstance(x, Tensor)]
        for mine, theirs in zip(expected, run_session(session, arguments), strict=True):
            given = torch.from_numpy(np.asarray(theirs))
            if given.shape != mine.shape:
                raise OnnxError(f"its output has the shape {tuple(given.shape)} instead of {tuple(mine.shape)}")
            scale = max(1.0, float(mine.double().abs().max())) if mine.numel() else 1.0
            worst = max(worst, float((given.double() - mine.double()).abs().max()) / scale if mine.numel() else 0.0)
    if not worst <= TOLERANCE:
        raise OnnxError(f"onnxruntime differs from torch by {worst:.2g}, more than {TOLERANCE:g}")
    return worst


def _random(example: Tensor, generator: torch.Generator) -> Tensor:
    """Random numbers of the example's kind; whole numbers no larger than its own, which may be indices."""
    if example.is_floating_point():
        return torch.randn(example.shape, generator=generator, dtype=example.dtype)
    if example.dtype == torch.bool or not example.numel():
        return example
    return torch.randint(
        0, int(example.max().clamp(min=0)) + 1, example.shape, generator=generator, dtype=example.dtype
    )


def _quantized(content: bytes, point: EntryPoint, calibration: Iterable[Any] | None) -> bytes:
    from onnxruntime import quantization

    with _quiet(), tempfile.TemporaryDirectory() as folder:
        given, prepared, made = (Path(folder) / name for name in ("given.onnx", "prepared.onnx", "int8.onnx"))
        given.write_bytes(content)
        quantization.shape_inference.quant_pre_process(str(given), str(prepared), skip_symbolic_shape=True)
        if calibration is None:
            quantization.quantize_dynamic(str(prepared), str(made), weight_type=quantization.QuantType.QInt8)
        else:
            reader = _Reader(calibration)
            quantization.quantize_static(str(prepared), str(made), reader, weight_type=quantization.QuantType.QInt8)
        return made.read_bytes()


class _Reader:
    """Calibration data as onnxruntime reads them."""

    def __init__(self, calibration: Iterable[Any]):
        self._rest = iter(calibration)

    def get_next(self) -> dict[str, np.ndarray] | None:
        arguments = next(self._rest, None)
        if arguments is None:
            return None
        given = arguments if isinstance(arguments, tuple) else (arguments,)
        return {f"x{i}": x.detach().cpu().numpy() for i, x in enumerate(given)}


def _path(path: Path, name: str) -> Path:
    suffix = path.suffix or ".onnx"
    return path.with_name(f"{path.stem}-{name}{suffix}" if name else f"{path.stem}{suffix}")


def _check_installed() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"ONNX needs a package that is not here ({error}): {_INSTALL}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what exporter and quantizer print and log about themselves."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
