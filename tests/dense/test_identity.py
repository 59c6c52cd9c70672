"""A dense network is filed under everything that decides what it is."""

import ast
import importlib
import random
from pathlib import Path

import numpy as np
import pytest
import torch

import prune_env
from prune_env.dense import CheckpointSpec, checkpoints, identify, is_cached, load_checkpoint
from prune_env.targets import registry

TARGET = """
import torch, torch.nn.functional as F, prune_env
from identity_net import Net
class T(prune_env.Target):
    components = ("a", "b"); dense_training = prune_env.DenseTraining(20)
    def __init__(self, classes=(0, 1), hidden=None, flag=None, folder="x"):
        self.classes, self._hidden, self.flag, self._folder = list(classes), hidden, flag, folder
    def build(self, g): return Net()  # drawn from torch's global random state, as people do
    def trace(self, m): return m(torch.zeros(1, 4))
    def batches(self, g):
        while True: yield torch.randn(16, 4, generator=g)
    def loss(self, m, b): return F.mse_loss(m(b), b[:, :2] * (self.classes[0] + 1))
    def score(self, m, s): return -float(self.loss(m, torch.ones(8, 4)))
    def floor(self, s): return -100.0
"""
NET = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__(); self.a = nn.Linear(4, 16); self.b = nn.Linear(16, 2)
    def forward(self, x): return self.b(nn.functional.dropout(ACT(self.a(x)), 0.1, self.training))
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write the user's files anew and register their target as "mine"."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(activation="torch.relu", target=TARGET):
        (tmp_path / "identity_net.py").write_text(NET.replace("ACT", activation))
        (tmp_path / "identity_target.py").write_text(target)
        importlib.invalidate_caches()
        for name in ("identity_net", "identity_target"):
            monkeypatch.delitem(importlib.sys.modules, name, raising=False)
        monkeypatch.setitem(registry._TARGETS, "mine", importlib.import_module("identity_target").T)

    return write


def spec(seed=0, **options):
    return CheckpointSpec("mine", options, seed)


def test_options_of_any_type_tell_networks_apart(write):
    write()
    options = [{}, {"classes": [7, 1]}, {"classes": [[0], 1]}, {"flag": False}, {"flag": 0}, {"flag": {"a": None}}]
    options += [{"hidden": [1]}, {"hidden": {"a": 1}}, {"hidden": torch.relu}, {"flag": torch.zeros(2)}]
    assert len({identify(spec(**given)) for given in options}) == len(options)
    assert identify(spec()) == identify(spec(classes=(0, 1))) == identify(spec(hidden=None))  # said or not
    with pytest.raises(ValueError, match=r"T\.flag = .*underscore"):
        identify(spec(flag=object()))


def test_a_target_says_what_it_leaves_out(write):
    write(target=TARGET + "    def settings(self): return {'classes': self.classes}\n")
    assert identify(spec(folder="x")) == identify(spec(folder="y")) != identify(spec(classes=[1, 1]))


def test_the_users_code_in_any_file_tells_networks_apart(write):
    write()
    load_checkpoint(spec(), progress=False)
    assert is_cached(spec())
    write("torch.tanh")  # another forward, in a file that the target's file imports
    assert not is_cached(spec())
    write(target=TARGET.replace("b[:, :2]", "b[:, 1:3]"))
    assert not is_cached(spec())
    write(target=TARGET.replace("# drawn", "# made"))
    assert is_cached(spec())


def test_caller_s_state_neither_changes_what_is_made_nor_is_changed(write):
    write()
    first = load_checkpoint(spec(), progress=False).state()
    identity = identify(spec())
    for path in Path(checkpoints.cache_folder()).rglob("*.safetensors"):
        path.unlink()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    torch.set_default_dtype(torch.float64)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.device("meta"), torch.no_grad():
            again = load_checkpoint(spec(), progress=False)
            assert identify(spec()) == identity
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(again.state()[name], tensor) for name, tensor in first.items())
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
    assert not torch.equal(load_checkpoint(spec(1), progress=False).state()["model.a.weight"], first["model.a.weight"])


def test_all_code_of_the_package_on_which_dense_training_depends_is_in_the_hash():
    folder = Path(prune_env.__file__).parent
    no_numbers = {"storage", "provenance", "user_code", "described", "validation", "open_sets", "parallel"}

    def imports(path):
        for node in ast.walk(ast.parse(path.read_text())):
            for name in [node.module] if isinstance(node, ast.ImportFrom) else []:
                if name.startswith("prune_env."):
                    yield name.removeprefix("prune_env.").replace(".", "/")

    covered = {part.removesuffix(".py") for part in checkpoints._CODE}
    files = [
        f
        for part in checkpoints._CODE
        for f in ([folder / part] if part.endswith(".py") else (folder / part).rglob("*.py"))
    ]
    used = {name for file in files for name in imports(file)} - no_numbers
    missing = {name for name in used if not any(name == c or name.startswith(f"{c}/") for c in covered)}
    assert len(files) > 40 and not missing
