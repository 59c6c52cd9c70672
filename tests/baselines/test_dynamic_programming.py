"""The knapsack of widths, against a search through all of them."""

import itertools

import numpy as np
import pytest

from prune_env.baselines import knapsack
from prune_env.baselines.dynamic_programming import _worth_keeping, meeting_groups


def products(*terms):
    """A cost: the sum over terms of factor * product of the widths of its groups."""
    return lambda w: sum(factor * np.prod(np.asarray(w)[..., list(groups)], axis=-1) for factor, *groups in terms)


def all_widths(levels):
    return np.array(list(itertools.product(*levels)))


def damages(levels, damage, widths):
    return sum(
        np.asarray(d)[np.searchsorted(le, widths[..., g])] for g, (le, d) in enumerate(zip(levels, damage, strict=True))
    )


def test_by_hand():
    """A chain 2 - a - b - 1 of layers costs 2 a + a b + b: of the four choices within 8, (2, 1) loses least."""
    levels = [np.array([1, 2]), np.array([1, 3])]
    damage = [np.array([0.5, 0.0]), np.array([0.3, 0.0])]
    cost = products((2, 0), (1, 0, 1), (1, 1))
    assert [int(cost(np.array(w))) for w in ((1, 1), (1, 3), (2, 1), (2, 3))] == [4, 8, 7, 13]
    assert knapsack(levels, damage, cost, 8).tolist() == [2, 1]
    assert knapsack(levels, damage, cost, 6).tolist() == [1, 1]
    assert knapsack(levels, damage, cost, 13).tolist() == [2, 3]
    assert knapsack(levels, damage, cost, 3).tolist() == [1, 1]  # nothing fits: the smallest


@pytest.mark.parametrize("seed", range(60))
def test_against_brute_force(seed):
    """Costs with any pattern of products, also of three widths, as a convolution over another group's channels has."""
    random = np.random.default_rng(seed)
    groups = int(random.integers(1, 6))
    levels = [np.unique(random.integers(1, 20, random.integers(1, 5))) for _ in range(groups)]
    damage = [np.sort(random.integers(0, 9, len(widths)) / 10)[::-1] for widths in levels]
    terms = [(int(random.integers(0, 5)), g) for g in range(groups)]
    pairs = [p for p in itertools.combinations(range(groups), 2) if random.random() < 0.5]
    triples = [p for p in itertools.combinations(range(groups), 3) if random.random() < 0.1]
    cost = products(*terms, *((int(random.integers(1, 4)), *p) for p in pairs + triples))
    every = all_widths(levels)
    costs, lost = cost(every), damages(levels, damage, every)
    target = float(random.uniform(costs.min(), costs.max()))
    found = knapsack(levels, damage, cost, target)
    assert cost(found) <= target
    assert damages(levels, damage, found) == pytest.approx(lost[costs <= target].min())
    for most in (1, 3, 100):  # with too few partial choices it may be worse, never too costly
        rough = knapsack(levels, damage, cost, target, most=most)
        assert cost(rough) <= target and damages(levels, damage, rough) >= damages(levels, damage, found) - 1e-9


def test_groups_that_meet_in_a_real_cost(env):
    """The autoencoder is a chain: a group meets its neighbours, and no other."""
    env.reset(seed=0)
    levels = [np.arange(1, width + 1) for width in env.view.widths]
    meets = meeting_groups(levels, env.view.cost_of)
    chain = np.abs(np.subtract.outer(np.arange(3), np.arange(3))) == 1
    assert np.array_equal(meets, chain)


def test_a_long_chain_is_solved_in_a_moment():
    """40 groups of 16 levels: 16^40 choices. Nothing beats the bound that the relaxed problem gives by much."""
    groups, random = 40, np.random.default_rng(0)
    levels = [np.arange(4, 68, 4)] * groups
    damage = [random.random() * (1 - np.sqrt(widths / 64)) for widths in levels]
    cost = products(*((1, g, g + 1) for g in range(groups - 1)))
    dense = float(cost(np.full(groups, 64)))
    found = knapsack(levels, damage, cost, 0.4 * dense, most=2000)
    assert 0.39 * dense < cost(found) <= 0.4 * dense
    best_uniform = np.array([w for w in range(4, 68, 4) if cost(np.full(groups, w)) <= 0.4 * dense])[-1]
    assert damages(levels, damage, found) < 0.8 * damages(levels, damage, np.full(groups, best_uniform))


def test_what_costs_more_and_damages_more_goes():
    """Of three choices with one front, the second costs and damages more than the first; another front is apart."""
    front, cost, lost = np.array([[0], [0], [0], [1]]), np.array([1.0, 2.0, 3.0, 9.0]), np.array([0.5, 0.6, 0.4, 0.9])
    assert sorted(_worth_keeping(front, cost, lost, 100)) == [0, 2, 3]
    assert 0 in _worth_keeping(front, cost, lost, 1)  # whatever is dropped, the cheapest stays
