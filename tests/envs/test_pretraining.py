"""Controllers from scratch, by `prune-env pretrain`'s own way: they learn to swing up, and say how long it took."""

import time

import pytest

from prune_env.envs import CheckpointSpec, history, load_checkpoint

pytestmark = pytest.mark.slow
CROWDED = 2.0  # those who share a core's caches and its other thread have been seen to double even processor time


@pytest.fixture
def pretrained(tmp_path, monkeypatch):
    """Train from scratch, past cache and package; returns looks, test returns, and the share of a core that it had."""

    def train(seed, **options):
        monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path))
        monkeypatch.setattr("prune_env.envs.checkpoints.SHIPPED", tmp_path / "nothing")
        spec = CheckpointSpec("tdmpc", options, seed)
        wall, processor = time.perf_counter(), time.process_time()
        learner = load_checkpoint(spec)
        share = min((time.process_time() - processor) / (time.perf_counter() - wall), 1.0)
        looks, returns = history(spec), learner.target.metrics(learner.model, "test")
        print(f"\n{options}, seed {seed}: {looks[-1].seconds:.0f} s of training on {share:.0%} of a core, {returns}")
        return looks, returns, share

    return train


@pytest.mark.parametrize("seed", range(5))
def test_solves_pendulum_from_its_state(pretrained, seed):
    looks, returns, share = pretrained(seed, starts=50)
    solved = next(look for look in looks if look.value >= -160)  # the worse of planner and policy
    print(f"solved after {solved.step} updates, {solved.seconds:.1f} s")
    assert solved.seconds * share <= 15 * CROWDED  # waiting for a core is not training
    assert set(returns) == {"planner_return", "policy_return"} and min(returns.values()) >= -160


def test_swings_the_pendulum_up_from_pixels(pretrained):
    looks, returns, _ = pretrained(1, observation="pixels", starts=50)
    assert max(look.value for look in looks) >= -250
    assert returns["policy_return"] >= -250


@pytest.mark.parametrize("seed", range(3))
def test_swings_the_pole_up_from_its_state(pretrained, seed):
    pytest.importorskip("dm_control", reason="cartpole needs the extra 'control'")
    _, returns, _ = pretrained(seed, task="cartpole-swingup")
    assert returns["policy_return"] >= 820
