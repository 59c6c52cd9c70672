import numpy as np
import pytest

from prune_env.studies.component_aware.job import PLAIN, sparsity_sweep
from prune_env.studies.component_aware.study import AWARE, VANILLA, SparsityReward, steepest_fall
from prune_env.studies.core.harness import AFTER_CUT, AFTER_TUNING, Subject

TINY = {"target": "autoencoder", "data": "digits", "latent_dim": 4, "hidden_layers": 1, "dense_steps": 200}
SPARSITIES = (0.2, 0.3, 0.4, 0.5)


def made_up(vanilla, aware, seeds=3):
    """The same two curves for each seed, but for a hair, in both stages."""
    return [
        {
            "target": "made up",
            "seed": seed,
            "way": PLAIN,
            "policy": policy,
            "sparsity": sparsity,
            "stage": stage,
            "retained": retained + 0.001 * seed,
            "score": -retained,
        }
        for seed in range(seeds)
        for policy, curve in ((VANILLA, vanilla), (AWARE, aware))
        for stage in (AFTER_CUT, AFTER_TUNING)
        for sparsity, retained in zip(SPARSITIES, curve, strict=True)
    ]


def test_steepest_fall():
    sparsities = np.array([0.05, 0.1, 0.2, 0.4])
    curves = np.array([[1.0, 0.9, 0.6, 0.3], [0.9, 0.9, 0.8, 0.0], [0.5, -0.5, -1.0, -1.0]])
    assert steepest_fall(curves, sparsities) == pytest.approx([0.3, 0.4, 0.5])


def test_verdicts_follow_from_the_curves():
    study = SparsityReward()

    def verdicts(rows):
        return [claim.verdict for claim in study.claims(rows, quick=False)[:3]]  # right after the cut

    assert verdicts(made_up([0.9, 0.6, 0.3, 0.1], [0.95, 0.9, 0.8, 0.6])) == ["agrees", "agrees", "agrees"]
    assert verdicts(made_up([0.9, 0.8, 0.7, 0.6], [0.95, 0.3, 0.2, 0.1])) == ["disagrees", "disagrees", "disagrees"]
    undecided = made_up([0.9, 0.8, 0.499, 0.3], [0.9, 0.8, 0.499, 0.3])
    assert verdicts(undecided)[0] == verdicts(undecided)[2] == "cannot be decided"
    assert set(verdicts(made_up([0.9, 0.6, 0.3, 0.1], [0.95, 0.9, 0.8, 0.6], seeds=2))) == {"cannot be decided"}


def test_page_and_figure_are_made_of_rows():
    rows = made_up([0.9, 0.6, 0.3, 0.1], [0.95, 0.9, 0.8, 0.6])
    assert "| vanilla DepGraph, global | right after the cut | 0.90 (-0.9) |" in SparsityReward().table(rows, False)
    assert len(SparsityReward().draw(rows, False).axes) == 2


@pytest.mark.parametrize("policy", [VANILLA, AWARE])
def test_a_policy_cuts_to_each_sparsity(policy):
    rows = sparsity_sweep("tiny", TINY, 0, PLAIN, policy, (0.3, 0.6), steps=3)
    assert [(row["sparsity"], row["stage"]) for row in rows] == [
        (0.3, AFTER_CUT),
        (0.3, AFTER_TUNING),
        (0.6, AFTER_CUT),
        (0.6, AFTER_TUNING),
    ]
    for row in rows:
        assert row["sparsity"] <= row["sparsity_reached"] < row["sparsity"] + 0.05
        assert row["retained"] == pytest.approx((row["score"] - row["floor"]) / (row["dense_score"] - row["floor"]))
    assert rows[0]["retained"] < rows[1]["retained"]
    assert sparsity_sweep("tiny", TINY, 0, PLAIN, policy, (0.3, 0.6), steps=3) == rows


def test_plain_cuts_go_by_norm_and_are_not_repaired():
    tiny = Subject(TINY, 0)
    tiny.prune("uniform", 0.5, 0, criterion="l2", repair="none")
    plain = tiny.env.network.train_state.model
    dense = Subject(TINY, 0)
    norm = dense.env.network.train_state.model.encoder[0]
    sizes = (norm.weight.square().sum(1) + norm.bias.square()).sqrt()
    kept = sizes.topk(plain.encoder[0].out_features).indices.sort().values
    assert plain.encoder[0].weight.equal(norm.weight[kept])
    assert plain.encoder[1].running_mean.equal(dense.env.network.train_state.model.encoder[1].running_mean[kept])


def test_pruning_goes_on_below_the_floor():
    tiny = Subject(TINY, 0)
    outcome = tiny.prune("uniform", 0.9, 0, rounds=3, steps=1, criterion="l2", repair="none")
    assert tiny.env.episode.round == 3 and outcome.sparsity >= 0.9
    assert tiny.env.episode.terms.retained < 0


def test_seeds_are_networks_of_their_own():
    first, second = Subject(TINY, 0), Subject(TINY, 1)
    assert second.env.network.label.endswith("seed=1") and first.dense != second.dense
