"""Every statistic against numbers worked out by hand, and against scipy where it has the same."""

import numpy as np
import pytest
import scipy.stats

from prune_env.benchmark.records import Records
from prune_env.benchmark.statistics import (
    area_under_curve,
    bootstrap_interval,
    difference,
    hypervolume,
    interquartile_mean,
    paired_interval,
    performance_profile,
    probability_of_improvement,
    ratio,
    resample_runs,
    run_mean,
    summarise,
)

x = np.nan


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_area_under_curve():
    # trapezoids: 0.2 * (1 + 0.5)/2 = 0.15 and 0.4 * (0.5 + 0)/2 = 0.1, over a range of 0.6
    assert area_under_curve([1.0, 0.5, 0.0], [0.3, 0.5, 0.9]) == pytest.approx(0.25 / 0.6)
    curves = np.array([[1.0, 0.5, 0.0], [0.4, 0.4, 0.4]]).T  # [B, 2]
    np.testing.assert_allclose(area_under_curve(curves, [0.3, 0.5, 0.9], axis=0), [0.25 / 0.6, 0.4])


def test_area_with_one_sparsity_is_the_score_there():
    np.testing.assert_array_equal(area_under_curve([[0.2], [0.7]], [0.5]), [0.2, 0.7])


def test_area_of_an_incomplete_run_is_not_a_number():
    assert np.isnan(area_under_curve([1.0, x, 0.0], [0.3, 0.5, 0.9]))


@pytest.mark.parametrize("sparsities", [[0.5, 0.3], [0.5, 0.5]])
def test_area_wants_ascending_sparsities(sparsities):
    with pytest.raises(ValueError, match="ascend"):
        area_under_curve([1.0, 0.5], sparsities)


def test_hypervolume():
    # heights by what lies at or beyond: 0.9 up to 0.3, then 0.6 up to 0.7 (0.4 is dominated), nothing beyond
    sparsity, retained = [0.5, 0.3, 0.9, 0.7], [0.4, 0.9, -1.0, 0.6]
    assert hypervolume(sparsity, retained) == pytest.approx(0.3 * 0.9 + 0.4 * 0.6)
    assert hypervolume(np.array([sparsity]).T, np.array([retained]).T, axis=0) == pytest.approx(0.51)
    assert hypervolume([0.0, 0.0], [1.0, 1.0]) == 0.0


def test_interquartile_mean():
    assert interquartile_mean(np.arange(1.0, 9.0).reshape(4, 2)) == 4.5  # (3 + 4 + 5 + 6) / 4
    assert interquartile_mean([[1.0, 100.0], [2.0, x], [4.0, x]]) == pytest.approx(3.0)  # 1 and 100 trimmed
    assert np.isnan(interquartile_mean([[x, x]]))


def test_interquartile_mean_is_scipys_trimmed_mean_row_by_row(rng):
    scores = rng.normal(size=(30, 7, 4))
    scores[rng.random(scores.shape) < 0.4] = x  # every row has another number of runs
    expected = [scipy.stats.trim_mean(row[~np.isnan(row)], 0.25) for row in scores]
    np.testing.assert_allclose(interquartile_mean(scores), expected)


def test_share_of_collapses_is_a_mean_over_runs():
    assert run_mean([[1.0, 0.0], [0.0, x], [0.0, x]]) == 0.25


def test_probability_of_improvement():
    # stratum 1: 3>2, 3>1, 1<2, 1=1 makes 2.5 of 4; stratum 2: 0<1 makes 0 of 1; stratum 3: the second has no run
    first = np.array([[3.0, 0.0, 5.0], [1.0, x, 5.0]])
    second = np.array([[2.0, 1.0, x], [1.0, x, x]])
    assert probability_of_improvement(first, second) == pytest.approx((0.625 + 0.0) / 2)
    assert probability_of_improvement(second, first) == pytest.approx(1 - 0.3125)


def test_probability_of_improvement_is_the_mann_whitney_statistic(rng):
    first, second = rng.integers(0, 5, (2, 8, 3)).astype(float)
    u = [scipy.stats.mannwhitneyu(a, b).statistic / 64 for a, b in zip(first.T, second.T, strict=True)]
    assert probability_of_improvement(first, second) == pytest.approx(np.mean(u))
    stacked = probability_of_improvement(np.stack([first, second]), np.stack([second, first]))
    np.testing.assert_allclose(stacked, [np.mean(u), 1 - np.mean(u)])


def test_performance_profile():
    # above 0.5: one of four in the first stratum, one of one in the second; strata weigh the same
    scores = [[0.9, 0.8], [0.5, x], [0.2, x], [0.1, x]]
    np.testing.assert_allclose(performance_profile(scores, [0.0, 0.5, 0.85]), [1.0, 0.625, 0.125])


def test_resampling_stays_within_strata_and_draws_networks_whole(rng):
    valid = np.array([[1, 1], [1, 1], [1, 0], [0, 0], [1, 0], [1, 0]], dtype=bool)  # 2 seeds a network; 4 = missing run
    rows = resample_runs(valid, rng, resamples=200, seeds_per_network=2)
    assert rows.shape == (200, 6, 2)
    pairs = rows.reshape(200, 3, 2, 2)
    assert set(pairs[..., 0, 0].ravel()) == {0, 2, 4}
    np.testing.assert_array_equal(pairs[..., 1, 0], pairs[..., 0, 0] + 1)
    assert set(rows[:, :2, 1].ravel()) == {0, 1} and (rows[:, 2:, 1] == 6).all()  # one network, and nothing else


def test_rows_must_hold_whole_networks(rng):
    with pytest.raises(ValueError, match="3 rows cannot hold"):
        resample_runs(np.ones((3, 1), dtype=bool), rng, seeds_per_network=2)


def test_bootstrap_interval_of_a_mean_is_the_textbook_one(rng):
    scores = rng.normal(size=(400, 1))
    value, low, high = bootstrap_interval(scores, run_mean, rng, resamples=4000)
    half = 1.96 * scores.std() / 20
    assert value == pytest.approx(scores.mean())
    assert (value - low, high - value) == (pytest.approx(half, rel=0.1), pytest.approx(half, rel=0.1))


def test_bootstrap_is_stratified_and_repeatable():
    value, low, high = bootstrap_interval([[1.0, 5.0], [1.0, 5.0], [1.0, x]], run_mean, np.random.default_rng(0))
    assert low == value == high  # each stratum is constant; an unstratified bootstrap would vary
    scores = np.random.default_rng(5).normal(size=(9, 2))
    again = [bootstrap_interval(scores, run_mean, np.random.default_rng(0)) for _ in range(2)]
    assert again[0] == again[1] != bootstrap_interval(scores, run_mean, np.random.default_rng(1))


def test_a_second_seed_on_the_same_networks_adds_no_certainty(rng):
    once = rng.normal(size=(12, 2))
    twice = np.repeat(once, 2, axis=0)  # the second seed says exactly the same
    as_one = bootstrap_interval(once, run_mean, np.random.default_rng(0))
    as_networks = bootstrap_interval(twice, run_mean, np.random.default_rng(0), seeds_per_network=2)
    as_runs = bootstrap_interval(twice, run_mean, np.random.default_rng(0))
    assert as_networks == pytest.approx(as_one)
    assert as_runs.high - as_runs.low < 0.8 * (as_one.high - as_one.low)


def test_one_network_has_no_interval(rng):
    for scores in ([[0.4, 0.8]], [[x, x]]):
        interval = bootstrap_interval(scores, interquartile_mean, rng)
        assert np.isnan(interval.low) and np.isnan(interval.high)
    assert bootstrap_interval([[0.4, 0.8]], interquartile_mean, rng).value == pytest.approx(0.6)


def test_a_statistic_may_have_many_values(rng):
    scores = rng.random((10, 2))
    interval = bootstrap_interval(scores, lambda s: performance_profile(s, [0.2, 0.5, 0.8]), rng)
    assert interval.low.shape == interval.high.shape == (3,)
    assert (interval.low <= interval.value).all() and (interval.value <= interval.high).all()


def test_paired_comparisons_cancel_what_a_network_does_to_both(rng):
    second = rng.random((10, 2)) + 0.1
    np.testing.assert_allclose(paired_interval(second + 0.1, second, difference, rng), [0.1] * 3)
    np.testing.assert_allclose(paired_interval(2 * second, second, ratio, rng), [2.0] * 3)


def test_paired_comparisons_leave_out_runs_that_either_lacks(rng):
    first = np.array([[1.0], [2.0], [100.0], [x]])
    second = np.array([[0.5], [1.5], [x], [-100.0]])
    np.testing.assert_allclose(paired_interval(first, second, difference, rng), [0.5] * 3)


def test_a_ratio_to_something_not_positive_is_not_a_number(rng):
    first = np.array([[1.0], [1.0], [1.0]])
    assert np.isnan(paired_interval(first, -first, ratio, rng)).all()
    value, low, high = paired_interval(first, [[0.9], [0.8], [-0.5]], ratio, rng)  # some resamples are negative
    assert value == pytest.approx(1 / 0.4) and np.isnan(low) and np.isnan(high)


def test_summary_ranks_by_area_on_test_data(duel):
    competition = summarise(duel)
    assert [s.policy for s in competition.standings] == ["ppo", "search", "fisher", "random", "none"]
    assert [s.kind for s in competition.standings] == ["agent", "privileged", "plain", "plain", "plain"]
    ppo, search = competition.standings[:2]
    # area of one run: level - 0.1 + 0.02 network; networks 0..3 twice; interquartile mean of 8 runs: networks 1, 2
    assert ppo.area.value == pytest.approx(0.6 - 0.1 + 0.03)
    np.testing.assert_allclose(ppo.retained.value, [0.63, 0.43])
    assert ppo.area.low < ppo.area.value < ppo.area.high
    # hypervolume of one run: 0.5 * r + 0.4 * (r - 0.2), r = 0.6 + 0.02 network
    assert ppo.hypervolume == pytest.approx(0.9 * 0.63 - 0.08)
    assert (search.evaluations, ppo.evaluations) == (48, 0)
    assert (ppo.complete, ppo.expected) == (8, 8)
    assert ppo.improvement is None and competition.standings[2].improvement.value == 1.0


def test_summary_compares_the_best_agent_with_the_best_plain_heuristic(duel):
    competition = summarise(duel)
    assert competition.lead == pytest.approx((0.2, 0.2, 0.2))
    assert competition.advantage.value == pytest.approx(0.53 / 0.33)
    assert competition.advantage.low > 1.5


def test_who_does_not_prune_is_not_ranked(duel):
    competition = summarise(duel)
    assert [s.policy for s in competition.standings if not s.ranked] == ["none"]
    assert competition.best("plain").policy == "fisher"


def test_a_budget_in_macs_is_a_budget_too(make_competition):
    records = Records(make_competition({"a": 0.5}, a={"sparsity": 0.1, "sparsity_macs": 0.89}))
    assert summarise(records).standings[0].on_budget
    records = Records(make_competition({"a": 0.5}, a={"sparsity": 0.1, "sparsity_macs": 0.8}))
    assert not summarise(records).standings[0].on_budget


def test_a_collapse_that_ended_early_is_ranked_with_its_score(make_competition):
    wrecks = {"a": {"sparsity": 0.1, "sparsity_macs": 0.1, "collapsed": True, "retained_test": -1.0}}
    standing = summarise(Records(make_competition({"a": 0.5}, **wrecks))).standings[0]
    assert standing.ranked and standing.collapsed == 1.0 and standing.area.value == -1.0


def test_incomplete_runs_are_left_out_and_counted(duel, make_failure):
    spoiled = Records([*duel.all, make_failure("fisher", 6, 3, budget=0.9)])
    standing = next(s for s in summarise(spoiled).standings if s.policy == "fisher")
    assert (standing.complete, standing.expected) == (7, 8)
    # networks 0, 1, 2 and 0, 1, 2, 3: seven runs, one trimmed at each end: 0 1 1 2 2 -> mean 1.2
    assert standing.area.value == pytest.approx(0.4 - 0.1 + 0.02 * 1.2)
    assert standing.retained.value[0] == pytest.approx(0.4 + 0.02 * 1.2)  # at the budget that did not fail, too


def test_a_policy_without_a_complete_run_comes_last_without_numbers(duel, make_failure):
    broken = [make_failure("broken", latent, n, b) for latent in (6, 12) for n in range(4) for b in (0.5, 0.9)]
    last = summarise(Records([*duel.all, *broken])).standings[-1]
    assert (last.policy, last.complete, last.ranked) == ("broken", 0, False)
    assert np.isnan(last.area.value)


def test_an_interval_does_not_depend_on_who_else_competes(duel):
    alone = summarise(Records(r for r in duel.all if r.policy == "fisher")).standings[0]
    among = next(s for s in summarise(duel).standings if s.policy == "fisher")
    assert alone.area == among.area


def test_other_configurations_are_left_out(duel, make_result):
    mixed = Records([make_result("ppo", config_hash="old", retained=0.99), *duel.all])
    competition, clean = summarise(mixed), summarise(duel)
    assert competition.left_out == 1 and clean.left_out == 0
    assert [(s.policy, s.area) for s in competition.standings] == [(s.policy, s.area) for s in clean.standings]
