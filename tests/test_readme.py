"""The README's code runs as it stands, on a smaller setting where it would take minutes."""

import importlib
import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
SMALLER = {
    "train": [
        ("latent_dim=16", "latent_dim=16, dense_steps=300"),
        ("n_steps=64", "n_steps=64, batch_size=32"),
        ("10_000", "64"),
    ],
    "bench": [("networks=6, seeds=2", "networks=2, seeds=1"), ('{"rounds": 1}', '{"rounds": 1, "dense_steps": 300}')],
    "own": [],
    "own-env": [],
}


def blocks():
    return dict(re.findall(r"<!-- test: ([\w-]+) -->\n```python\n(.*?)```", README.read_text(), flags=re.DOTALL))


def run(names, tmp_path, monkeypatch):
    """Import the blocks, one after the other, as a module in an empty folder."""
    code = ""
    for name in names:
        block = blocks()[name]
        for old, new in SMALLER[name]:
            assert old in block, f"{name}: the README no longer says {old!r}"
            block = block.replace(old, new)
        code += block
    module = f"readme_{names[0]}"
    (tmp_path / f"{module}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module(module)


def test_every_marked_block_is_known():
    assert set(blocks()) == set(SMALLER)


@pytest.mark.parametrize("name", ["train", "bench"])
def test_uses(name, tmp_path, monkeypatch):
    run([name], tmp_path, monkeypatch)
    if name == "bench":
        assert (tmp_path / "runs" / "duel" / "index.html").stat().st_size > 10_000


def test_bring_your_own_network(tmp_path, monkeypatch, capsys):
    module = run(["own", "own-env"], tmp_path, monkeypatch)
    assert module.info["reward_terms"]["sparsity"] >= 0.7
    (said,) = re.findall(r"<!-- output: own -->\n```\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert capsys.readouterr().out.startswith(said)
