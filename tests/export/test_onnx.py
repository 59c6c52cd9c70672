"""ONNX files compute what torch computes, entry point by entry point, and say so where they do not."""

import pytest
import torch
from small_classifier import FUNCTIONS, X, score, trained
from torch import nn

import prune_env
from prune_env.export import onnx as exporting
from prune_env.export.onnx import OnnxError, OnnxModule, export_onnx
from prune_env.targets import EntryPoint, make_target

pytest.importorskip("onnxruntime")
POINTS = {"forward": X[:1], "encode": X[:1]}


@pytest.fixture(scope="module")
def result():
    return prune_env.prune(
        trained(), **FUNCTIONS, entry_points=POINTS, budget=0.5, policy="uniform", steps=5, progress=False
    )


def test_every_entry_point_is_a_file_that_computes_the_same(result, tmp_path):
    files = result.export_onnx(tmp_path / "net.onnx", int8=True)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("net-forward.onnx", "net-encode.onnx", "net-forward-int8.onnx", "net-encode-int8.onnx")
    }
    assert all(error <= 1e-5 for error in files.errors.values()) and files.fixed_batch == ()
    module, model = OnnxModule(files.paths), result.model.eval()
    torch.testing.assert_close(module(X), model(X).detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(module.encode(X[:3]), model.encode(X[:3]).detach(), atol=1e-5, rtol=1e-5)
    assert files.scores["float"] == score(model, "test") and abs(files.scores["int8"] - files.scores["float"]) < 0.1


def test_one_entry_point_has_the_very_path_and_int8_may_be_calibrated(result, tmp_path):
    files = result.export_onnx(tmp_path / "net.onnx", ["forward"], int8=True, calibration=[X[:32], X[32:64]])
    assert files.paths == {"forward": tmp_path / "net.onnx"} and files.int8["forward"].stat().st_size
    torch.testing.assert_close(OnnxModule(files.int8)(X), result.model(X).detach(), atol=0.5, rtol=0.5)
    with pytest.raises(ValueError, match="unknown entry point 'decode'"):
        result.export_onnx(tmp_path / "net.onnx", ["decode"])


def test_a_file_that_computes_something_else_is_refused_and_nothing_is_written(result, tmp_path, monkeypatch):
    run = exporting.run_session
    monkeypatch.setattr(exporting, "run_session", lambda *given: [x + 1e-3 for x in run(*given)])
    with pytest.raises(OnnxError, match="cannot be exported: onnxruntime differs from torch by"):
        result.export_onnx(tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


class Fixed(nn.Module):
    """Works for one sample at a time only."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 6)

    def forward(self, x):
        return self.layer(x).view(1, 2, 3)


def test_a_network_for_single_samples_is_exported_as_one(tmp_path):
    files = export_onnx(Fixed(), {"forward": EntryPoint(nn.Module.__call__, (X[:1],))}, tmp_path / "one.onnx")
    assert files.fixed_batch == ("forward",)


def test_what_cannot_be_exported_is_said(tmp_path):
    def odd(model, x):
        return model.layer(x) if float(x.sum()) > 1e9 else torch.linalg.eig(x.T @ x).eigenvalues

    with pytest.raises(OnnxError, match="entry point 'odd' cannot be exported"):
        export_onnx(Fixed(), {"odd": EntryPoint(odd, (X[:1],))}, tmp_path / "odd.onnx")
    with pytest.raises(ValueError, match="there is no entry point to export"):
        export_onnx(Fixed(), {}, tmp_path / "none.onnx")


def test_a_controller_is_exported_with_all_networks_of_its_planner(tmp_path):
    target = make_target("tdmpc")
    model = target.build(torch.Generator().manual_seed(0))
    files = export_onnx(model, target.entry_points(model), tmp_path / "controller.onnx")
    assert set(files.paths) == {"act", "encoder", "policy", "dynamics", "reward", "q1", "q2"} and not files.fixed_batch
