"""Policies by name and by path: found, refused, and called by a short title."""

from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

from prune_env.baselines import Uniform
from prune_env.benchmark import known_policies, make_policy, policies, register_policy
from prune_env.benchmark.policies import every_policy, find_policy, policy_title, spelled_out

ENV = SimpleNamespace(columns=(), group_names=("a", "b"), max_ratio=0.9)  # all that a factory reads


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    monkeypatch.setattr(policies, "_REGISTERED", {})


def mine(env):
    return Uniform(env, amount=0.125)


def test_announced_policies_are_found_by_name():
    assert list(known_policies()) == sorted(known_policies())
    assert {"none", "random", "uniform", "fisher", "global-fisher", "random-search"} <= set(known_policies())
    assert find_policy("uniform") is Uniform
    assert isinstance(make_policy("uniform", ENV), Uniform)


def test_a_registered_policy_is_found_by_name():
    register_policy("mine", mine)
    assert known_policies()["mine"] is mine
    assert make_policy("mine", ENV).amount == 0.125


def test_options_are_given_with_the_name():
    assert make_policy("uniform:amount=0.25", ENV).amount == 0.25
    assert policy_title("uniform:amount=0.25") == "uniform:amount=0.25"
    with pytest.raises(ValueError, match="policy 'uniform' has no option 'mount'; its options: amount"):
        find_policy("uniform:mount=0.25")
    with pytest.raises(ValueError, match="NAME:KEY=VALUE"):
        find_policy("uniform:amount")


def test_a_name_that_is_taken_is_refused():
    register_policy("mine", mine)
    register_policy("mine", mine)  # the same one is no duplicate
    with pytest.raises(ValueError, match="policy 'mine' is already registered"):
        register_policy("mine", Uniform)
    with pytest.raises(ValueError, match="policy 'uniform' is already registered"):
        register_policy("uniform", mine)
    assert make_policy("mine", ENV).amount == 0.125 and find_policy("uniform") is Uniform


def test_an_unknown_name_lists_the_known_ones_and_the_suffixes():
    with pytest.raises(ValueError, match=r"did you mean 'fisher'\? \(known: .*bayes, .*uniform.*\.zip\)"):
        make_policy("fischer", ENV)
    with pytest.raises(ValueError, match=r"unknown policy 'runs/ppo'"):
        find_policy("runs/ppo")


def test_a_path_without_a_file_is_named():
    with pytest.raises(ValueError, match=r"no file 'runs/ppo/model\.zip'"):
        find_policy("runs/ppo/model.zip")


def test_files_are_loaded_by_whoever_announces_their_suffix(monkeypatch, tmp_path):
    entry = EntryPoint(name="pair", value="builtins:divmod", group="prune_env.policy_files")
    monkeypatch.setattr(policies, "entry_points", lambda group: [entry] if group == entry.group else [])
    (tmp_path / "a.pair").write_text("")
    loaded = find_policy(str(tmp_path / "a.pair"))
    assert loaded.func is divmod and loaded.args == (tmp_path / "a.pair",)


def test_without_the_package_installed_the_message_asks_for_it(monkeypatch):
    monkeypatch.setattr(policies, "entry_points", lambda group: [])
    with pytest.raises(ValueError, match="is the package installed"):
        find_policy("uniform")


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("fisher", "fisher"),
        ("runs/ppo/model.zip", "ppo"),
        ("/a/b/sac-2/model.zip", "sac-2"),
        ("model.zip", "model.zip"),
    ],
)
def test_saved_policies_are_called_after_their_folders(name, title):
    assert policy_title(name) == title


def test_a_search_from_a_saved_agent_keeps_its_own_name():
    assert policy_title("cma-es:start=runs/ppo/model.zip") == "cma-es:start=runs/ppo/model.zip"
    assert policy_title("runs/ppo/model.zip") == "ppo"


def test_options_from_a_file_are_written_out(tmp_path):
    path = tmp_path / "best.yaml"
    path.write_text("temperature: 0.5\n")
    assert spelled_out(f"gradient:@{path}") == "gradient:temperature=0.5"
    assert spelled_out(f"gradient:amount=0.4,@{path}") == "gradient:amount=0.4,temperature=0.5"
    assert spelled_out("cma-es:evaluations=3") == "cma-es:evaluations=3"


def test_every_policy_can_be_made_by_its_name(monkeypatch):
    monkeypatch.setitem(policies._REGISTERED, "needy", lambda env, folder: None)
    monkeypatch.setitem(policies._REGISTERED, "easy", lambda env, amount=0.5, **rest: None)
    names = every_policy()
    assert {"uniform", "cma-es", "amc", "easy"} <= set(names) and "needy" not in names
    assert list(names) == sorted(names)
