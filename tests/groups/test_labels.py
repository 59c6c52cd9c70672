"""The algebra of labels on examples of a few positions."""

from __future__ import annotations

import numpy as np
import pytest

from prune_env.groups.tracing.labels import UNKNOWN, Ledger, relabel, size_of


def classes_of(ledger: Ledger) -> list[int]:
    return ledger.conclude().of_label.tolist()


def test_same_joins_position_for_position() -> None:
    ledger = Ledger()
    a, b, c = ledger.fresh(3), ledger.fresh(3), ledger.fresh(3)
    ledger.same(a, b)
    ledger.same(b, c)
    assert classes_of(ledger) == [0, 1, 2, 0, 1, 2, 0, 1, 2]


def test_a_dimension_of_size_one_is_broadcast() -> None:
    ledger = Ledger()
    a = ledger.fresh(3)
    assert ledger.same((), a) is a
    assert ledger.same(a, ()) is a
    assert classes_of(ledger) == [0, 1, 2]
    assert ledger.fresh(1) == ()


def test_what_is_the_same_as_a_fixed_position_is_locked_for_its_reason() -> None:
    ledger = Ledger()
    a, b = ledger.fresh(2), ledger.fresh(2)
    ledger.same(a, b)
    ledger.same(b, ledger.fixed(2, "first reason"))
    ledger.lock([a], "second reason")
    c = ledger.fresh(2)
    conclusion = ledger.conclude()
    classes, locked = conclusion.of_label, conclusion.locked
    assert classes[c[0]].tolist() == [2, 3]
    assert locked == {0: "first reason", 1: "first reason"}


def test_flattening_repeats_the_labels_and_can_be_undone() -> None:
    ledger = Ledger()
    channels, height, width = ledger.fresh(2), ledger.fixed(2, "space"), ledger.fixed(2, "space")
    (flat,) = ledger.reshape((channels, height, width), [8])
    assert size_of(flat) == 8
    assert ledger.flat(flat).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    back = ledger.reshape((flat,), [2, 4])
    assert back[0][0].tolist() == [0, 1]
    assert ledger.conclude().locked == {}


def test_flat_labels_of_two_examples_are_told_apart_again() -> None:
    ledger = Ledger()
    (channels,) = ledger.fresh(3)
    tiled = np.tile(channels, 2)
    batch, minor = ledger.reshape(((tiled,),), [2, 3])
    assert (batch[0] < 0).all()
    assert minor[0].tolist() == [0, 1, 2]
    assert classes_of(ledger) == [0, 1, 2]


def test_whole_parts_are_channels_by_default() -> None:
    ledger = Ledger()
    a = ledger.fresh(6)
    major, minor = ledger.reshape((a,), [3, 2])
    conclusion = ledger.conclude()
    assert conclusion.of_label[a[0]].tolist() == [0, 0, 1, 1, 2, 2]
    assert conclusion.of_label[major[0]].tolist() == [0, 1, 2]
    assert set(conclusion.locked) == set(conclusion.of_label[minor[0]].tolist())
    assert len(conclusion.free) == 1


def test_a_dimension_that_is_split_twice_has_the_same_parts() -> None:
    ledger = Ledger()
    a = ledger.fresh(6)
    one, other = ledger.reshape((a,), [3, 2]), ledger.reshape((a,), [3, 2])
    assert [f is g for (f,), (g,) in zip(one, other, strict=True)] == [True, True]
    (merged,) = ledger.reshape(one, [6])
    assert ledger.flat(merged).tolist() == a[0].tolist()


def test_reshaping_across_borders_locks() -> None:
    ledger = Ledger()
    a, b = ledger.fresh(4), ledger.fresh(3)
    ledger.reshape((a, b), [3, 4])
    assert set(ledger.conclude().locked) == set(range(7))


def test_of_two_prunable_dimensions_that_are_flattened_one_stays_prunable_if_it_is_not_undone() -> None:
    ledger = Ledger()
    a, b = ledger.fresh(2), ledger.fresh(3)
    (merged,) = ledger.reshape((a, b), [6])
    assert [f[0].tolist() for f in ledger.reshape((merged,), [2, 3])] == [[0, 1], [2, 3, 4]]
    assert ledger.conclude().locked == {}
    flat = ledger.fresh(6)
    ledger.same(merged, flat)
    conclusion = ledger.conclude()
    assert set(conclusion.locked) == {2, 3, 4}
    assert conclusion.of_label[flat[0]].tolist() == [0, 0, 0, 1, 1, 1]
    (number,) = conclusion.free
    shares = ledger.conclude({number: "shares"})
    assert set(shares.locked) == set(shares.of_label[a[0]].tolist())
    assert shares.of_label[flat[0]].tolist() == [*shares.of_label[b[0]].tolist()] * 2


def test_flattening_with_a_dimension_of_equal_values_repeats() -> None:
    ledger = Ledger()
    a, times, b = ledger.fresh(3), ledger.uniform(2), ledger.fresh(6)
    (merged,) = ledger.reshape((a, times), [6])
    ledger.same(merged, b)
    conclusion = ledger.conclude()
    classes, locked = conclusion.of_label, conclusion.locked
    assert classes[b[0]].tolist() == [0, 0, 1, 1, 2, 2]
    assert set(locked) == set(classes[times[0]].tolist())


def test_concatenation_strings_together() -> None:
    ledger = Ledger()
    a, b = ledger.fresh(2), ledger.fresh(3)
    (joined,) = ledger.concatenate([a, ledger.fixed(1, "input"), b, a])
    assert joined.tolist() == [0, 1, UNKNOWN, 2, 3, 4, 0, 1]


def test_tie_joins_blocks() -> None:
    ledger = Ledger()
    (a,) = ledger.fresh(6)
    ledger.tie(a, 2)
    assert classes_of(ledger) == [0, 1, 2, 0, 1, 2]


def test_relabel_drops_what_is_removed() -> None:
    table = np.array([7, np.iinfo(np.int64).min, 9])
    assert [f.tolist() for f in relabel(((np.array([0, 1, 2, -4]),),), table)[0]] == [[7, 9, -4]]


@pytest.mark.parametrize("sizes", [[1, 6], [6, 1], [1, 2, 1, 3]])
def test_dimensions_of_size_one_come_and_go(sizes: list[int]) -> None:
    ledger = Ledger()
    dims = ledger.reshape((ledger.fresh(2), (), ledger.fresh(3)), sizes)
    assert [size_of(d) for d in dims] == sizes
    assert ledger.conclude().locked == {}
