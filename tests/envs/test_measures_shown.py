"""An environment tracks what it shows and cuts by, and says where it runs."""

import numpy as np
import pytest

from prune_env import PruningEnv

TINY = {"latent_dim": 4, "hidden_layers": 1, "learning_rate": 0.01, "dense_steps": 60, "steps_per_round": 1}


def test_only_what_is_shown_and_cut_by_is_tracked():
    env = PruningEnv(
        "autoencoder", rounds=2, observation=("fisher", "bayes_corrected", "kept"), criterion="taylor", **TINY
    )
    observation, _ = env.reset(seed=0)
    assert env.episode.importance.measures == ("fisher", "bayes_corrected", "taylor")
    assert (observation.reshape(-1, 3)[:, :2] > -20).all()  # measured in dense training
    observation, *_ = env.step(np.full(3, 0.3))
    assert np.isfinite(observation).all()
    assert set(env.episode.importance.state_dict()) >= {"ema.taylor", "bayes_corrected.beta"}
    assert not any("bayes." in name for name in env.episode.importance.state_dict())
    env.reset(seed=0, options={"criterion": "l2"})
    assert env.episode.importance.measures == ("fisher", "bayes_corrected")


@pytest.mark.parametrize("device", ["tpu:x", "privateuseone", 7.5])
def test_a_device_that_cannot_be_used_is_named(device):
    with pytest.raises(ValueError, match="device"):
        PruningEnv("autoencoder", device=device, **TINY)
