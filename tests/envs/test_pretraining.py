"""Controllers from scratch, by `prune-env pretrain`'s own way: they learn to swing up, and say how long it took."""

import pytest

from prune_env.envs import CheckpointSpec, history, load_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture
def pretrained(tmp_path, monkeypatch):
    """Train from scratch, past cache and package; returns learner, looks and test returns."""

    def train(seed, **options):
        monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path))
        monkeypatch.setattr("prune_env.envs.checkpoints.SHIPPED", tmp_path / "nothing")
        spec = CheckpointSpec("tdmpc", options, seed)
        learner = load_checkpoint(spec)
        looks, returns = history(spec), learner.target.metrics(learner.model, "test")
        print(f"\n{options}, seed {seed}: {looks[-1].seconds:.0f} s of training, {returns}")
        return looks, returns

    return train


@pytest.mark.parametrize("seed", range(5))
def test_solves_pendulum_from_its_state(pretrained, seed):
    looks, returns = pretrained(seed, starts=50)
    solved = next(look for look in looks if look.numbers["policy_return"] >= -160)
    print(f"solved after {solved.step} updates, {solved.seconds:.1f} s")
    assert max(returns.values()) >= -160 and min(returns.values()) >= -200


def test_swings_the_pendulum_up_from_pixels(pretrained):
    looks, returns = pretrained(1, observation="pixels", starts=50)
    assert max(look.value for look in looks) >= -250
    assert returns["policy_return"] >= -250


@pytest.mark.parametrize("seed", range(3))
def test_swings_the_pole_up_from_its_state(pretrained, seed):
    pytest.importorskip("dm_control", reason="cartpole needs the extra 'control'")
    _, returns = pretrained(seed, task="cartpole-swingup")
    assert returns["policy_return"] >= 820
