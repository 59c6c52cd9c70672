from __future__ import annotations

import numpy as np
import pytest

from prune_env.groups.tracing.labels import Dim, Ledger
from prune_env.groups.tracing.shares import Conclusion, Option


def classes(conclusion: Conclusion, dim: Dim) -> list[int]:
    """Classes of a dimension, numbered in the order in which they occur."""
    values = conclusion.of_label[np.concatenate(dim)].tolist()
    return [list(dict.fromkeys(values)).index(v) for v in values]


def with_option(ledger: Ledger, option: Option) -> Conclusion:
    return ledger.conclude(dict.fromkeys(ledger.conclude().free, option))


def test_parts_that_are_picked_by_number_leave_equal_shares() -> None:
    ledger = Ledger()
    a = ledger.fresh(6)
    major, minor = ledger.reshape((a,), [2, 3])
    ledger.lock([major], "picked")
    conclusion = ledger.conclude()
    assert classes(conclusion, a) == [0, 1, 2, 0, 1, 2]
    assert conclusion.of_label[minor[0]].tolist() == conclusion.of_label[a[0][:3]].tolist()
    assert set(conclusion.locked.values()) == {"picked"}
    assert conclusion.free == {}


def test_positions_with_an_order_leave_whole_parts() -> None:
    ledger = Ledger()
    a = ledger.fresh(6)
    _, minor = ledger.reshape((a,), [2, 3])
    ledger.lock([minor], "order")
    conclusion = ledger.conclude({0: "shares"})
    assert classes(conclusion, a) == [0, 0, 0, 1, 1, 1]
    assert conclusion.free == {}


def test_a_dimension_without_any_way_is_locked() -> None:
    ledger = Ledger()
    a = ledger.fresh(6)
    ledger.lock(ledger.reshape((a,), [2, 3]), "why")
    conclusion = ledger.conclude()
    assert set(conclusion.of_label[a[0]].tolist()) <= set(conclusion.locked)


def test_a_shuffle_there_and_back_follows_one_choice() -> None:
    ledger = Ledger()
    a, b = ledger.fresh(6), ledger.fresh(6)
    major, minor = ledger.reshape((a,), [2, 3])
    (shuffled,) = ledger.reshape((minor, major), [6])
    ledger.same(shuffled, b)
    whole, shares = with_option(ledger, "whole"), with_option(ledger, "shares")
    assert classes(whole, (*a, *b)) == [0, 0, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1]
    assert classes(shares, (*a, *b)) == [0, 1, 2, 0, 1, 2, 0, 0, 1, 1, 2, 2]
    assert not set(whole.of_label[a[0]].tolist()) & set(whole.locked)
    assert len(whole.free) == 1


def test_heads_within_queries_keys_and_values() -> None:
    ledger = Ledger()
    a = ledger.fresh(12)
    kinds, *_ = ledger.reshape((a,), [3, 2, 2])
    ledger.lock([kinds], "picked")
    assert classes(with_option(ledger, "whole"), a) == [0, 0, 1, 1] * 3
    assert classes(with_option(ledger, "shares"), a) == [0, 1, 0, 1] * 3


def test_halves_are_apart_or_lose_equal_shares() -> None:
    ledger = Ledger()
    a = ledger.fresh(6)
    halves = ledger.parts(a, [3, 3])
    assert [h[0].tolist() for h in halves] == [[0, 1, 2], [3, 4, 5]]
    assert classes(ledger.conclude(), a) == [0, 1, 2, 3, 4, 5]
    assert classes(with_option(ledger, "shares"), a) == [0, 1, 2, 0, 1, 2]


def test_unequal_parts_are_apart_and_single_ones_are_picked() -> None:
    ledger = Ledger()
    ledger.parts(ledger.fresh(6), [2, 4])
    assert ledger.conclude().free == {}
    b = ledger.fresh(2)
    assert ledger.parts(b, [1, 1]) == [(), ()]
    assert set(ledger.conclude().of_label[b[0]].tolist()) == set(ledger.conclude().locked)


def test_heads_and_halves_offer_three_options() -> None:
    ledger = Ledger()
    a = ledger.fresh(8)
    for half in ledger.parts(a, [4, 4]):
        ledger.reshape((half,), [2, 2])
    (options,) = ledger.conclude().free.values()
    assert options == ("whole", "shares", "whole, shares of halves")
    assert classes(with_option(ledger, "whole"), a) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert classes(with_option(ledger, "shares"), a) == [0, 1, 0, 1, 0, 1, 0, 1]
    assert classes(with_option(ledger, options[2]), a) == [0, 0, 1, 1, 0, 0, 1, 1]


@pytest.mark.parametrize("tied", [[[0, 1], [2, 3], [4, 5]], [[0, 2, 4], [1, 3, 5]]])
def test_channels_that_are_known_decide(tied: list[list[int]]) -> None:
    ledger = Ledger()
    a = ledger.fresh(6)
    _, minor = ledger.reshape((a,), [3, 2])
    conclusion = ledger.conclude(tied=[np.array(tied)])
    of = conclusion.of_label[a[0]]
    assert all(len(set(of[channel].tolist())) == 1 for channel in tied)
    shares = len(tied) == 2
    assert (set(conclusion.of_label[minor[0]].tolist()) == set(of.tolist())) == shares
    assert conclusion.free == {}
