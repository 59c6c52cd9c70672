"""Targets by name: registering, making, and what is said of names and options that do not fit."""

from importlib.metadata import EntryPoint

import pytest

import prune_env
from prune_env.targets import Autoencoder, Target, known_targets, make_target, register_target, registry


class Toy(Target):
    def __init__(self, size: int = 3):
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self.size = size


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    monkeypatch.setattr(registry, "_TARGETS", dict(registry._TARGETS))


def test_a_registered_target_is_made_by_name_with_its_options():
    register_target("toy", Toy)
    assert known_targets()["toy"] is Toy
    assert make_target("toy").size == 3 and make_target("toy", size=7).size == 7


def test_the_package_gives_the_same_three_names():
    assert prune_env.register_target is register_target and prune_env.make_target is make_target
    assert isinstance(prune_env.make_target("autoencoder", latent_dim=4), Autoencoder)


def test_an_unknown_name_lists_the_known_ones_in_order():
    register_target("toy", Toy)
    register_target("a-toy", Toy)
    with pytest.raises(
        ValueError, match=r"unknown target 'tdmpc3'; did you mean 'tdmpc'\? \(known: a-toy, autoencoder, .*toy"
    ) as raised:
        make_target("tdmpc3")
    listed = str(raised.value).partition("known: ")[2].removesuffix(")").split(", ")
    assert listed == sorted(known_targets())


def test_a_name_that_is_taken_is_refused_and_the_first_stays():
    with pytest.raises(ValueError, match="target 'autoencoder' is already registered"):
        register_target("autoencoder", Toy)
    assert known_targets()["autoencoder"] is Autoencoder


def test_the_same_target_may_be_registered_again():
    register_target("toy", Toy)
    register_target("toy", Toy)
    assert known_targets()["toy"] is Toy


def test_an_option_that_does_not_exist_is_named_with_the_target():
    register_target("toy", Toy)
    for kind in (ValueError, TypeError):
        with pytest.raises(kind, match=r"target 'toy': unknown option 'width' \(known: size\)"):
            make_target("toy", width=2)


def test_what_a_target_says_of_its_options_is_passed_on():
    register_target("toy", Toy)
    with pytest.raises(ValueError, match=r"^size must be at least 1, got 0$"):
        make_target("toy", size=0)


def test_targets_of_installed_packages_are_known(monkeypatch):
    entry = EntryPoint(name="elsewhere", value="collections:OrderedDict", group="prune_env.targets")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == "prune_env.targets" else [])
    assert "elsewhere" in known_targets()
    assert make_target("elsewhere", size=2) == {"size": 2}
    with pytest.raises(ValueError, match="already registered"):
        register_target("elsewhere", Toy)


def test_a_method_that_is_missing_says_which():
    with pytest.raises(NotImplementedError, match=r"Toy must implement build\(generator\)"):
        Toy().build(None)
    with pytest.raises(NotImplementedError, match=r"Toy must implement score\(model, split\)"):
        Toy().score(None, "test")


def test_defaults_that_most_targets_leave_alone():
    toy = Toy()
    assert toy.floor("test") == 0.0 and toy.metrics(None, "test") == {} and toy.variants("train") == [{}]
    toy._hidden, toy.table = 1, [1, 2]
    assert toy.settings() == {"size": 3, "table": [1, 2]}
