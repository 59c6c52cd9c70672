"""Names of open sets, and options that are given with a name."""

import pytest

from prune_env.open_sets import add, find, join_options, split_options


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


def test_options_from_a_file(tmp_path):
    path = tmp_path / "best.yaml"
    path.write_text("# by hand\ntemperature: 0.5\nweights: [1, 0]\n")
    assert split_options(f"combined:@{path}") == ("combined", {"temperature": 0.5, "weights": [1, 0]})
    assert split_options(f"combined:@{path},amount=0.2")[1] == {"temperature": 0.5, "weights": [1, 0], "amount": 0.2}
    for content in ("temperature", "[1, 2]", "{a b: 1}", "a: ["):
        path.write_text(content)
        with pytest.raises(ValueError, match="holds no options"):
            split_options(f"combined:@{path}")
    with pytest.raises(OSError, match="nowhere"):
        split_options("combined:@nowhere.yaml")


@pytest.mark.parametrize(
    "options", [{}, {"a": 1e-3, "b": [1, 0, 1], "c": True, "d": None}, {"a": "word", "b": "1e-3", "c": "true"}]
)
def test_options_are_written_as_they_are_read(options):
    assert split_options(join_options("name", options)) == ("name", options)
