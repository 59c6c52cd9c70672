"""All records of a run: the latest of each identity, and their numbers by seed, budget and network."""

import numpy as np
import pytest

from prune_env.benchmark.records import Records
from prune_env.benchmark.report import table_text


def test_another_configuration_is_another_identity(make_result):
    assert make_result().key != make_result(config_hash="cd34").key


def test_the_last_line_says_which_configuration_is_the_latest(make_result):
    old, other = make_result(seed=0), make_result(seed=1, config_hash="cd34")
    latest, left_out = Records([old, other]).latest_configuration()
    assert latest.results == (other,) and left_out == 1
    latest, left_out = Records([old, other, make_result(seed=0, retained=0.1)]).latest_configuration()
    assert [r.retained for r in latest.results] == [0.1] and left_out == 1


def test_the_latest_dense_network_of_each_name_counts(make_result):
    old, kept, new = make_result(network=0, dense="a"), make_result(network=1, dense="a"), make_result(dense="b")
    assert old.key != new.key
    latest, left_out = Records([old, kept, new]).latest_configuration()
    assert latest.results == (kept, new) and left_out == 1


def test_no_records_say_what_to_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="prune-env bench"):
        Records.read(tmp_path / "nowhere")
    (tmp_path / "records.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="prune-env bench"):
        Records.read(tmp_path)


def test_scores_are_laid_out_by_seed_budget_and_network(make_result, make_failure):
    records = Records(
        [
            make_result("a", latent=16, network=5, seed=1, retained=0.1),
            make_result("a", latent=8, network=2, seed=0, retained=0.2),
            make_result("a", latent=8, network=2, seed=7, retained=0.3),
            make_result("a", latent=8, network=10, seed=0, retained=0.4),
            make_result("a", latent=8, network=10, seed=0, budget=0.9, retained=0.5),
            make_failure("b", latent=8, network=2, seed=0),
            make_result("b", latent=8, network=10, seed=0, retained=0.6),
        ]
    )
    scores = records.scores("retained")
    assert (scores.policies, scores.budgets) == (("a", "b"), (0.5, 0.9))
    assert scores.networks == tuple(f"latent_dim={kind}, seed={seed}" for kind, seed in ((8, 2), (8, 10), (16, 5)))
    assert scores.strata == ("latent_dim=8", "latent_dim=8", "latent_dim=16")  # 8 before 16: numbers, not letters
    x = np.nan
    np.testing.assert_array_equal(scores.of("a"), [[[0.25, 0.4, 0.1], [x, 0.5, x]]])  # a mean over evaluation seeds
    np.testing.assert_array_equal(scores.of("b"), [[[x, 0.6, x], [x, x, x]]])
    assert scores.complete("a").tolist() == [False, True, False] and not scores.complete("b").any()


def test_a_network_lacks_a_number_as_long_as_an_evaluation_seed_is_missing(make_result, make_failure):
    records = Records([make_result("a"), make_failure("a", seed=1), make_result("b"), make_result("b", seed=1)])
    assert np.isnan(records.scores("retained").of("a")).all() and not np.isnan(records.scores("retained").of("b")).any()


def test_an_unknown_number_lists_the_known_ones(make_result):
    with pytest.raises(ValueError, match=r"unknown number 'reward' \(known: retained"):
        Records([make_result()]).scores("reward")


def test_the_table_is_plain_text_with_every_policy(duel):
    table = table_text(duel)
    assert "\x1b" not in table
    assert all(policy in table for policy in duel.kinds)


# ---------------------------------------------------------------------- several seeds of one agent
def test_seeds_of_an_agent_are_one_policy(make_result, make_failure):
    trained = [
        make_result(f"ppo-{seed}", network=network, retained=0.2 * seed + 0.1 * network, learned=True, agent="a1")
        for seed in (0, 1)
        for network in (0, 1)
    ]
    records = Records([*trained, make_result("uniform")])
    assert records.kinds == {"ppo (2 seeds)": "agent", "uniform": "plain"}
    assert records.members("ppo (2 seeds)") == ("ppo-0", "ppo-1")
    np.testing.assert_allclose(records.scores("retained").of("ppo (2 seeds)"), [[[0.0, 0.1]], [[0.2, 0.3]]])
    missing = Records([*trained, make_failure("ppo-1", network=1, learned=True, agent="a1")])
    assert missing.scores("retained").complete("ppo (2 seeds)").tolist() == [True, False]


def test_agents_that_were_trained_otherwise_are_not_mixed(make_result):
    records = Records(
        make_result(policy, learned=True, agent=agent)
        for policy, agent in (("ppo-seed0", "a"), ("ppo-seed1", "a"), ("ppo-seed2", "b"), ("ppo-seed3", "b"), ("x", ""))
    )
    assert list(records.kinds) == ["ppo (2 seeds)", "ppo b (2 seeds)", "x"]
