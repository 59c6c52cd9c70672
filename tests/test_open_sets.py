"""Names of open sets, and options that are given with a name."""

import pytest

from prune_env.open_sets import add, find, split_options


def test_a_known_name_is_found_and_an_unknown_one_lists_the_known():
    assert find("colour", "red", {"red": 1}) == 1
    with pytest.raises(ValueError, match=r"unknown colour 'rad'; did you mean 'red'\? \(known: red, blue\)"):
        find("colour", "rad", {"red": 1, "blue": 2})


def test_a_name_is_given_once():
    known = {"red": 1}
    add("colour", "blue", 2, known)
    assert known == {"red": 1, "blue": 2}
    with pytest.raises(ValueError, match="colour 'red' is already registered"):
        add("colour", "red", 3, known)


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("uniform", "uniform", {}),
        ("cma-es:evaluations=200", "cma-es", {"evaluations": 200}),
        ("combined:weights=[1,0,1],relative=true", "combined", {"weights": [1, 0, 1], "relative": True}),
        ("x:a={b: 1, c: 2},d=word", "x", {"a": {"b": 1, "c": 2}, "d": "word"}),
    ],
)
def test_options_are_given_with_a_name(text, name, options):
    assert split_options(text) == (name, options)


@pytest.mark.parametrize("text", ["x:", "x:3", "x:a=1,a=2", "x:a b=1"])
def test_options_that_are_not_pairs_are_refused(text):
    with pytest.raises(ValueError, match="NAME:KEY=VALUE"):
        split_options(text)
