import numpy as np
import pytest
import torch

from prune_env.studies.core.harness import AFTER_CUT, AFTER_TUNING, Subject
from prune_env.studies.damage.job import PREDICTORS, correlations, damage
from prune_env.studies.damage.study import Damage, winner

TINY = {"target": "autoencoder", "data": "digits", "latent_dim": 4, "hidden_layers": 1, "dense_steps": 200}
GROUPS = ("encoder.0", "encoder.3", "decoder.0")


def made_up(seeds, better="gradient", worse="bayes"):
    """Five groups in two stages: `better` orders them as damage does, `worse` the other way, the rest not at all."""
    return [
        {
            "target": "made up",
            "seed": seed,
            "ratio": 0.5,
            "stage": stage,
            "group": name,
            "kind": "component",
            "damage": 0.1 * g,
            **dict.fromkeys(PREDICTORS, 1.0),
            better: 10.0 + g,
            worse: -5.0 * g,
        }
        for seed in range(seeds)
        for stage in (AFTER_CUT, AFTER_TUNING)
        for g, name in enumerate("abcde")
    ]


def test_correlations_are_taken_across_groups_of_each_network():
    rows = made_up(2)
    for row in rows:
        if row["seed"] == 1:
            row["gradient"] = -row["gradient"]
    found = correlations(rows, "made up", AFTER_TUNING)
    assert found.shape == (2, 1, len(PREDICTORS))
    names = list(PREDICTORS)
    assert found[:, 0, names.index("gradient")] == pytest.approx([1, -1])
    assert found[:, 0, names.index("bayes")] == pytest.approx([-1, -1])
    assert (found[:, 0, names.index("channels")] == 0).all()


def test_verdicts_follow_from_the_correlations():
    def verdicts(rows):
        return [claim.verdict for claim in Damage().claims(rows, quick=False)]

    assert verdicts(made_up(3)) == ["agrees", "cannot be decided", "disagrees", "agrees", "agrees"]
    assert verdicts(made_up(3, better="weight_rms", worse="fisher")) == [
        "cannot be decided",
        "disagrees",
        "cannot be decided",
        "disagrees",
        "disagrees",
    ]
    assert set(verdicts(made_up(2))) == {"cannot be decided"}
    few_groups = [row for row in made_up(3) if row["group"] in "abc"]  # a third of all orders fits as well
    assert verdicts(few_groups)[0] == "cannot be decided"
    one_stage = [row | {"gradient": 0.0} if row["stage"] == AFTER_TUNING else row for row in made_up(3)]
    assert verdicts(one_stage)[0] == "cannot be decided"


def test_one_norm_that_predicts_better_decides_that_norms_do_not_fail():
    """A mean over the norms would hide it: gradient is above three of four."""
    rows = made_up(3)
    for row in rows:
        row["gradient"] = {"a": 1, "b": 2, "c": 3, "d": 5, "e": 4}[row["group"]]
        row["weight_rms"] = row["damage"]
    found = [claim for claim in Damage().claims(rows, quick=False) if "Norms often fail" in claim.paper]
    assert [claim.verdict for claim in found] == ["disagrees", "disagrees"]
    assert "RMS w -0.10 [-0.10, -0.10]" in found[0].measured and "mean |w| 0.90 [0.90, 0.90]" in found[0].measured
    assert AFTER_CUT in found[0].measured and AFTER_TUNING in found[1].measured
    late = [row | {"weight_rms": 1.0} if row["stage"] == AFTER_TUNING else row for row in rows]
    found = [claim for claim in Damage().claims(late, quick=False) if "Norms often fail" in claim.paper]
    assert [claim.verdict for claim in found] == ["disagrees", "agrees"]


def test_the_winner_is_tied_with_those_that_are_not_behind_it_for_certain():
    names = list(PREDICTORS)
    values = np.zeros((4, len(names)))
    values[:, names.index("fisher")] = common = np.array([0.9, 0.6, 0.8, 0.7])
    values[:, names.index("taylor")] = common - [0.3, -0.1, 0.2, 0.0]
    values[:, names.index("l2")] = common - [0.11, 0.1, 0.1, 0.09]  # always a little behind
    values[:, names.index("chance")] = 0.95
    assert winner(values) == ("fisher", ["taylor"])


def test_page_and_figure_are_made_of_rows():
    rows = made_up(3)
    table = Damage().table(rows, quick=False)
    assert "gradient wins**, untied." in table and "| made up | c | component | 0.200 | 0.200 |" in table
    assert len(Damage().draw(rows, quick=False).axes) == 1


@pytest.fixture(scope="module")
def rows():
    return damage("tiny", TINY, seed=1, ratio=0.5, steps=5)


def test_every_group_is_cut_alone_and_put_back(rows):
    tiny = Subject(TINY, 1)
    dense = {name: tensor.clone() for name, tensor in tiny.env.network.train_state.model.state_dict().items()}
    assert [row["group"] for row in rows] == [*GROUPS, *GROUPS]
    parameters = 64 * 34 + 34 + 68 + 34 * 4 + 4 + 4 * 34 + 34 + 68 + 34 * 64 + 64
    latent = 2 * 34 + 2 + 2 * 34  # two latent channels, with all that makes and reads them
    assert rows[1]["sparsity"] == pytest.approx(latent / parameters)
    draw = int(np.random.SeedSequence([1, 5000]).generate_state(1)[0])
    tiny.cut(np.array([0.9, 0.9, 0.9]), draw, steps=3)
    again = tiny.cut(np.array([0.0, 0.5, 0.0]), draw)
    assert again.retained == rows[1]["retained"]
    tiny.begin(0)
    restored = tiny.env.network.train_state.model.state_dict()
    assert all(torch.equal(dense[name], tensor) for name, tensor in restored.items())


def test_damage_is_what_the_dense_network_has_more(rows):
    after_cut, tuned = rows[:3], rows[3:]
    assert {row["stage"] for row in after_cut} == {AFTER_CUT} and {row["stage"] for row in tuned} == {AFTER_TUNING}
    assert all(row["damage"] > 0 for row in after_cut)
    for stage in (after_cut, tuned):  # against the same reference
        assert np.ptp([row["damage"] + row["retained"] for row in stage]) == pytest.approx(0, abs=1e-12)
    assert tuned[0]["damage"] + tuned[0]["retained"] != after_cut[0]["damage"] + after_cut[0]["retained"]


def test_rows_repeat_themselves(rows):
    assert damage("tiny", TINY, seed=1, ratio=0.5, steps=5) == rows


def test_predictors_are_those_of_the_dense_network(rows):
    train_state = Subject(TINY, 1).env.network.train_state
    groups = train_state.tracker.groups().double().numpy()
    for m, measure in enumerate(("gradient", "fisher", "bayes")):
        assert [row[measure] for row in rows[:3]] == pytest.approx(groups[m], rel=1e-4)
    assert [row["channels"] for row in rows[:3]] == [34, 4, 34]
    assert [row["parameters"] for row in rows[:3]] == [64 * 34 + 34, 34 * 4 + 4, 4 * 34 + 34]
    weights = torch.cat([p.detach().flatten() for p in train_state.model.encoder[3].parameters()]).double()
    assert rows[1]["weight_mean"] == pytest.approx(float(weights.abs().mean()), rel=1e-4)
    remembered = train_state.tracker.state_dict()
    mu = remembered["bayes.beta"][-3:] / remembered["bayes.alpha"]
    corrected = torch.log1p(mu) * (1 + train_state.tracker.groups()[1])
    assert [row["bayes_corrected"] for row in rows[:3]] == pytest.approx(corrected.tolist())
    scores = [
        train_state.tracker.channel("fisher_weight")[train_state.surgeon.group_of == g].sort().values for g in range(3)
    ]
    assert [row["fisher_weight_removed"] for row in rows[:3]] == pytest.approx(
        [float(s[: len(s) // 2].sum()) for s in scores]
    )
    assert [row["fisher_weight"] for row in rows[:3]] == pytest.approx([float(s.mean()) for s in scores])
