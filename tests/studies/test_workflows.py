import pytest

from prune_env.benchmark.intervals import Interval
from prune_env.studies.core.harness import Subject
from prune_env.studies.workflows.job import GRADUAL, LATE, ONE_SHOT, arms, workflow
from prune_env.studies.workflows.study import Workflows, at_least_as_good
from prune_env.targets import make_target

TINY = {"target": "autoencoder", "data": "digits", "latent_dim": 4, "hidden_layers": 1, "final_learning_rate": 1e-3}
PLAN = {"dense_steps": 400, "tuning_steps": 40, "rounds": 4}


def made_up(leads, seeds=4):
    """One-shot retains half, the others what `leads` says more, but for a hair."""
    return [
        {
            "target": "made up",
            "seed": seed,
            "arm": arm,
            "policy": policy,
            "sparsity": sparsity,
            "retained": 0.5 + lead + (0.001 * seed if lead else 0),
        }
        for seed in range(seeds)
        for arm, lead in zip((ONE_SHOT, GRADUAL, LATE), (0.0, *leads), strict=True)
        for policy in ("l2", "fisher")
        for sparsity in (0.5, 0.7)
    ]


def test_all_workflows_plan_the_same_number_of_steps():
    planned = arms(dense_steps=2000, tuning_steps=400, rounds=5)
    assert {arm.total for arm in planned.values()} == {2400}
    assert (planned[GRADUAL].dense_steps, planned[GRADUAL].steps) == (1000, 280)
    assert (planned[LATE].dense_steps, planned[LATE].steps) == (2000, 80)
    assert planned[ONE_SHOT].rounds == 1
    with pytest.raises(ValueError, match="401 training steps are not divisible by 5 rounds"):
        arms(dense_steps=2000, tuning_steps=401, rounds=5)


@pytest.mark.parametrize("arm", [ONE_SHOT, GRADUAL, LATE])
def test_all_workflows_take_the_same_number_of_steps(arm):
    planned = arms(**PLAN)[arm]
    tiny = Subject({**TINY, "dense_steps": planned.dense_steps}, 0)
    outcome = tiny.prune("l2", 0.6, 0, rounds=planned.rounds, steps=planned.steps)
    assert tiny.env.network.train_state.tracker.steps == PLAN["dense_steps"] + PLAN["tuning_steps"]
    assert tiny.env.episode.round == planned.rounds
    assert 0.6 <= outcome.sparsity < 0.65


def test_scores_count_from_the_dense_network_of_as_many_steps():
    rows = {arm: workflow("tiny", TINY, 0, arm, PLAN, (0.3,), ("l2",))[0] for arm in (ONE_SHOT, GRADUAL)}
    dense = Subject({**TINY, "dense_steps": arms(**PLAN)[ONE_SHOT].total}, 0)
    for row in rows.values():
        expected = (row["score"] - dense.floor) / (dense.dense - dense.floor)
        assert row["retained"] == pytest.approx(expected)
        assert row["training_steps"] == 440
    half = Subject({**TINY, "dense_steps": 200}, 0)
    assert half.dense < dense.dense
    assert rows[GRADUAL]["dense_score"] == dense.dense


@pytest.mark.parametrize(
    "low, high, verdict",
    [(-0.01, 0.3, "agrees"), (-0.1, 0.3, "cannot be decided"), (-0.1, -0.03, "disagrees")],
)
def test_a_small_deficit_counts_as_equally_good(low, high, verdict):
    assert at_least_as_good(Interval(0.0, low, high)) == verdict


def test_verdicts_follow_from_the_leads():
    claims = Workflows().claims(made_up((0.1, -0.1)), quick=False)
    assert [claim.verdict for claim in claims] == ["agrees", "disagrees"]
    assert "0.10 [0.10, 0.10]" in claims[0].measured
    few = Workflows().claims(made_up((0.1, -0.1), seeds=2), quick=False)
    assert {claim.verdict for claim in few} == {"cannot be decided"}


def test_the_extremes_carry_their_intervals():
    rows = made_up((0.1, 0.0))
    for row in rows:
        if (row["arm"], row["policy"], row["sparsity"]) == (GRADUAL, "l2", 0.7):
            row["retained"] += 0.8 * (row["seed"] - 1)
    (gradual, *_) = Workflows().claims(rows, quick=False)
    assert "to 0.50 [-1.14, 2.15] (l2, 70%)" in gradual.measured


def test_page_and_figure_are_made_of_rows():
    rows = made_up((0.1, -0.1))
    assert "| made up | fisher | one-shot at convergence | 0.50 [0.50, 0.50] |" in Workflows().table(rows, False)
    assert len(Workflows().draw(rows, False).axes) == 2


@pytest.mark.parametrize("quick", [True, False])
def test_controllers_are_kept_as_they_are_after_all_their_steps(quick):
    """Not as they were at their best look, which would make the totals unequal."""
    for network in (job.arguments["network"] for job in Workflows().jobs(quick, [0])):
        options = {name: value for name, value in network.items() if name != "target"}
        made = make_target(network["target"], **options)
        plan = made.dense_training
        assert plan.keep == "last" or plan.eval_every > 10 * plan.steps
