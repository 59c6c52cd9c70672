"""Code of the user is told apart by what it does, in every file that it imports, and in notebooks without files."""

import importlib
import sys

import pytest

from prune_env.user_code import describe_code


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    names = set(sys.modules)

    def write(name, source):
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
        importlib.invalidate_caches()

    yield write
    for name in set(sys.modules) - names:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in sys.modules[name].__file__:
            del sys.modules[name]


def test_files_are_followed_through_imports(write):
    write("mine.__init__", "")
    write("mine.deep", "SLOPE = 1\n")
    write("mine.net", "from .deep import SLOPE\nclass Net: pass\n")
    write("beside", "def loss(): return 1\n")
    write("unused", "X = 1\n")
    write(
        "entry", "import mine.net\nclass T:\n    def loss(self):\n        import beside\n        return beside.loss()\n"
    )
    target = importlib.import_module("entry").T()
    first = describe_code([target])
    assert len(first["sources"]) == 5 or len(first["sources"]) == 4  # mine.__init__ is empty
    for name, change in {
        "mine.deep": "SLOPE = 2\n",
        "beside": "def loss(): return 2\n",
        "mine.net": "from .deep import SLOPE\nclass Net: x = 1\n",
    }.items():
        write(name, change)
        changed = describe_code([target])
        assert changed != first, name
        first = changed
    write("unused", "X = 2\n")
    write("beside", "def loss():\n    '''Loss.'''\n    return 2  # two\n")
    assert describe_code([target]) == first


def test_what_attributes_and_factories_hold_is_followed(write):
    from functools import partial

    for name in ("a", "b"):
        write(f"loss_{name}", f"def loss(): return '{name}'\nclass Net: x = '{name}'\n")
    a, b = (importlib.import_module(f"loss_{name}") for name in ("a", "b"))
    described = [describe_code([thing]) for m in (a, b) for thing in (m.loss, m.Net, m.Net(), partial(print, m.Net))]
    assert described[:4] == [described[0]] * 4 != described[4:] == [described[4]] * 4


def test_installed_packages_are_known_by_their_version(write):
    write("uses", "import numpy, torch, json, prune_env\nclass T: pass\n")
    said = describe_code([importlib.import_module("uses").T])
    assert list(said["packages"]) == ["numpy"] and said["packages"]["numpy"].startswith("numpy ")
    assert len(said["sources"]) == 1


def test_code_without_a_file_is_known_by_what_it_compiles_to():
    def notebook(slope, doc="", extra=""):
        names = {"__name__": "a_notebook"}
        exec(
            f"SLOPE = {slope}\ndef helper(x):\n    {doc!r}\n    return x * SLOPE\n"
            f"class Net:\n    def forward(self, x): return helper(x){extra}\n"
            "class T:\n    def build(self): return Net()\n",
            names,
        )
        sys.modules["a_notebook"] = type(sys)("a_notebook")
        return describe_code([names["T"]])

    first = notebook(1)
    assert first["sources"] and notebook(1) == first
    assert notebook(2) != first and notebook(1, extra=" + 1") != first
    del sys.modules["a_notebook"]
