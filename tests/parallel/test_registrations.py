"""What users register is found by workers, or they say why not."""

import sys
from importlib import import_module
from types import ModuleType

import pytest

from prune_env import open_sets
from prune_env.envs import SCHEDULES, register_schedule
from prune_env.open_sets import find
from prune_env.parallel import map_unordered
from prune_env.parallel import registrations as registered

CODE = "from prune_env.envs import register_schedule\nregister_schedule({name!r}, lambda progress, budget: 0.25)\n"


@pytest.fixture(autouse=True)
def forget():
    """Nothing is registered, before and after."""
    sets = [SCHEDULES, open_sets.REGISTERED_BY, open_sets.UNREACHABLE]
    before = [dict(entries) for entries in sets]
    open_sets.REGISTERED_BY.clear()
    yield
    for entries, kept in zip(sets, before, strict=True):
        entries.clear()
        entries.update(kept)


def value_of(name):
    return find("schedule", name, SCHEDULES)(0.5, 0.5)


def test_a_module_is_imported_by_workers(tmp_path, monkeypatch):
    (tmp_path / "users_schedules.py").write_text(CODE.format(name="a"))
    monkeypatch.syspath_prepend(tmp_path)
    import_module("users_schedules")
    assert open_sets.REGISTERED_BY == {("schedule", "a"): "users_schedules"}
    assert list(map_unordered(value_of, ["a", "a"], 2, "test")) == [0.25, 0.25]


def test_a_module_that_workers_do_not_have_is_named_when_it_is_needed():
    exec(CODE.format(name="b"), ModuleType("only_here").__dict__)
    assert value_of("b") == 0.25
    assert list(map_unordered(value_of, ["linear", "linear"], 2, "test")) == [0.75, 0.75]
    with pytest.raises(ValueError, match=r"unknown schedule 'b'; the worker does not know it: only_here cannot be imp"):
        list(map_unordered(value_of, ["b", "b"], 2, "test"))


def test_the_main_script_travels_as_its_source(tmp_path, monkeypatch):
    script = ModuleType("__main__")
    script.__file__ = str(tmp_path / "script.py")
    (tmp_path / "script.py").write_text(CODE.format(name="c"))
    monkeypatch.setitem(sys.modules, "__main__", script)
    exec(CODE.format(name="c"), script.__dict__)
    (sent,) = registered.registrations()
    assert sent.name == "c" and sent.source == (tmp_path / "script.py").read_text()
    SCHEDULES.pop("c")
    open_sets.REGISTERED_BY.clear()
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "worker"))
    registered.import_registrations((sent,))
    assert value_of("c") == 0.25


def test_an_interactive_session_is_told_to_write_a_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    exec(CODE.format(name="d"), sys.modules["__main__"].__dict__)
    (sent,) = registered.registrations()
    SCHEDULES.pop("d")
    open_sets.REGISTERED_BY.clear()
    registered.import_registrations((sent,))
    with pytest.raises(ValueError, match="it was registered in an interactive session: put it into a module"):
        value_of("d")


def test_what_the_package_registers_itself_needs_no_import():
    register_schedule("linear", SCHEDULES["linear"])  # the same again, from here
    assert all(not module.startswith("prune_env") for module in open_sets.REGISTERED_BY.values())
