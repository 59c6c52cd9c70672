"""The leaderboard: who is ranked, in which order, and how the best agent compares."""

from dataclasses import replace

import numpy as np
import pytest

from prune_env.benchmark.headline import notes
from prune_env.benchmark.leaderboard import rank_policies
from prune_env.benchmark.records import Records


def test_the_leaderboard_ranks_by_area_on_test_data(duel):
    board = rank_policies(duel)
    assert [s.policy for s in board.standings] == ["ppo", "search", "fisher", "random", "none"]
    assert [s.kind for s in board.standings] == ["agent", "privileged", "plain", "plain", "plain"]
    ppo, search = board.standings[:2]
    # area of one network: level - 0.1 + 0.02 network, for networks 0..3 twice
    assert ppo.area.value == pytest.approx(0.6 - 0.1 + 0.03) == ppo.unclipped_area
    np.testing.assert_allclose(ppo.retained.value, [0.63, 0.43])
    assert ppo.area.low < ppo.area.value < ppo.area.high
    # hypervolume of one network: 0.5 * r + 0.4 * (r - 0.2), r = 0.6 + 0.02 network
    assert ppo.hypervolume == pytest.approx(0.9 * 0.63 - 0.08)
    assert (search.trial_cuts, ppo.trial_cuts) == (48, 0)
    assert (ppo.complete, ppo.expected) == (8, 8)
    assert ppo.lead is None and ppo.agent_better is None and board.standings[2].agent_better == 1.0
    random = board.standings[3]
    assert random.area.value == 0.0 and random.unclipped_area == pytest.approx(-0.7 - 0.1 + 0.03)


def test_the_leaderboard_compares_the_best_agent_with_all_others(duel):
    board = rank_policies(duel)
    assert board.best("plain").lead == pytest.approx((0.2, 0.2, 0.2))
    assert board.best("privileged").lead == pytest.approx((0.1, 0.1, 0.1))


def test_seeds_of_an_agent_enter_its_intervals(make_results):
    seeds = {f"ppo-{seed}": {"learned": True, "agent": "a1"} for seed in (0, 1, 2)}
    alike, apart = (
        rank_policies(Records(make_results({"fisher": 0.4, "ppo-0": 0.6 - d, "ppo-1": 0.6, "ppo-2": 0.6 + d}, **seeds)))
        for d in (0.0, 0.1)
    )
    for board in (alike, apart):
        assert board.best("agent").policy == "ppo (3 seeds)" and board.best("agent").complete == 8
        assert board.best("plain").lead.value == pytest.approx(0.2)
    assert alike.best("plain").lead.low == pytest.approx(0.2)
    assert apart.best("plain").lead.low < 0  # three seeds that differ by 0.1 do not show a lead of 0.2


def test_who_does_not_prune_is_not_ranked(duel):
    board = rank_policies(duel)
    assert [s.policy for s in board.standings if not s.ranked] == ["none"]
    assert board.best("plain").policy == "fisher"


def test_a_budget_is_met_in_its_own_unit(make_results):
    for unit, sparsities, met in (
        ("macs", {"parameters": 0.1, "macs": 0.89}, True),
        ("macs", {"parameters": 0.99, "macs": 0.8}, False),
        ("parameters", {"parameters": 0.1, "macs": 0.89}, False),
    ):
        records = Records(make_results({"a": 0.5}, a={"sparsities": sparsities, "budget_unit": unit}))
        assert rank_policies(records).standings[0].on_budget == met


def test_there_is_a_mean_sparsity_of_every_cost(make_results):
    sparsities = {"parameters": 0.5, "macs": 0.4, "latency": 0.1}
    (standing,) = rank_policies(Records(make_results({"a": 0.5}, a={"sparsities": sparsities}))).standings
    assert {cost: values.tolist() for cost, values in standing.sparsities.items()} == {
        cost: pytest.approx([value] * 2) for cost, value in sparsities.items()
    }


def test_a_collapse_that_ended_early_is_ranked_with_its_score(make_results):
    wrecks = {"a": {"sparsities": {"parameters": 0.1}, "collapsed": True, "retained_test": -1.0}}
    standing = rank_policies(Records(make_results({"a": 0.5}, **wrecks))).standings[0]
    assert standing.ranked and standing.collapsed == 1.0
    assert standing.area.value == 0.0 and standing.unclipped_area == -1.0


def test_incomplete_networks_are_left_out_and_counted(duel, make_failure):
    spoiled = Records([*duel.all, make_failure("fisher", 6, 3, budget=0.9)])
    standing = next(s for s in rank_policies(spoiled).standings if s.policy == "fisher")
    assert (standing.complete, standing.expected) == (7, 8)
    # networks 0, 1, 2, 3 and 0, 1, 2: mean 9 / 7
    assert standing.area.value == pytest.approx(0.4 - 0.1 + 0.02 * 9 / 7)
    assert standing.retained.value[0] == pytest.approx(0.4 + 0.02 * 9 / 7)  # at the budget that did not fail, too


def test_a_policy_without_a_complete_network_comes_last_without_numbers(duel, make_failure):
    broken = [make_failure("broken", latent, n, b) for latent in (6, 12) for n in range(4) for b in (0.5, 0.9)]
    last = rank_policies(Records([*duel.all, *broken])).standings[-1]
    assert (last.policy, last.complete, last.ranked) == ("broken", 0, False)
    assert np.isnan(last.area.value)


def test_an_interval_does_not_depend_on_who_else_competes(duel):
    alone = rank_policies(Records(r for r in duel.all if r.policy == "fisher")).standings[0]
    among = next(s for s in rank_policies(duel).standings if s.policy == "fisher")
    assert alone.area == among.area


def test_other_configurations_are_left_out(duel, make_result):
    mixed = Records([make_result("ppo", config_hash="old", retained=0.99), *duel.all])
    board, clean = rank_policies(mixed), rank_policies(duel)
    assert board.left_out == 1 and clean.left_out == 0
    assert [(s.policy, s.area) for s in board.standings] == [(s.policy, s.area) for s in clean.standings]


def test_a_second_evaluation_seed_that_says_the_same_adds_no_certainty(make_results):
    levels = {"ppo": 0.6, "fisher": 0.4}
    once = list(make_results(levels, ppo={"learned": True}))
    twice = [replace(record, seed=seed) for record in once for seed in (0, 1)]
    for one, two in zip(rank_policies(Records(once)).standings, rank_policies(Records(twice)).standings, strict=True):
        assert two.area == pytest.approx(one.area) and (two.complete, two.expected) == (8, 8)


def test_a_policy_that_has_done_few_networks_does_not_lead(duel, make_result):
    lucky = [make_result("lucky", 6, 3, budget, retained=0.9, learned=True) for budget in (0.5, 0.9)]
    board = rank_policies(Records([*lucky, *duel.all]))
    assert board.best("agent").policy == "ppo"
    (standing,) = (s for s in board.standings if s.policy == "lucky")
    assert (standing.complete, standing.expected, standing.ranked) == (1, 8, False)
    assert "no more than half of their networks are complete: lucky." in " ".join(notes(board))
