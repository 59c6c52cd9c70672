"""Controllers from scratch, by `prune-env pretrain`'s own way: they learn to swing up, and say how long it took."""

import time

import pytest

from prune_env.dense import CheckpointSpec, load_checkpoint, training_history

pytestmark = pytest.mark.slow
CROWDED = 2.0  # those who share a core's caches and its other thread have been seen to double even processor time


@pytest.fixture
def pretrained(tmp_path, monkeypatch):
    """Train from scratch, past cache and package; returns evaluations, test returns and the share of a core it had."""

    def train(seed, **options):
        monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path))
        monkeypatch.setattr("prune_env.dense.checkpoints.SHIPPED", tmp_path / "nothing")
        spec = CheckpointSpec("tdmpc", options, seed)
        wall, processor = time.perf_counter(), time.process_time()
        train_state = load_checkpoint(spec)
        share = min((time.process_time() - processor) / (time.perf_counter() - wall), 1.0)
        evaluations, returns = training_history(spec), train_state.target.metrics(train_state.model, "test")
        print(
            f"\n{options}, seed {seed}: {evaluations[-1].seconds:.0f} s of training on {share:.0%} of a core, {returns}"
        )
        return evaluations, returns, share

    return train


@pytest.mark.parametrize("seed", range(5))
def test_solves_pendulum_from_its_state(pretrained, seed):
    evaluations, returns, share = pretrained(seed, starts=50)
    solved = next(
        evaluation for evaluation in evaluations if evaluation.value >= -160
    )  # the worse of planner and policy
    print(f"solved after {solved.step} updates, {solved.seconds:.1f} s")
    assert solved.seconds * share <= 15 * CROWDED  # waiting for a core is not training
    assert set(returns) == {"planner_return", "policy_return"} and min(returns.values()) >= -160


def test_swings_the_pendulum_up_from_pixels(pretrained):
    evaluations, returns, _ = pretrained(1, obs="pixels", starts=50)
    assert max(evaluation.value for evaluation in evaluations) >= -250
    assert returns["policy_return"] >= -250


@pytest.mark.parametrize("seed", range(3))
def test_swings_the_pole_up_from_its_state(pretrained, seed):
    pytest.importorskip("dm_control", reason="cartpole needs the extra 'control'")
    _, returns, _ = pretrained(seed, task="cartpole-swingup")
    assert returns["policy_return"] >= 820
