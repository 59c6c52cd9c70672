"""The environment on networks that somebody hands in: the same episodes as on a registered target."""

import numpy as np
import pytest
from small_envs import rollout, same
from trained_target import Trained

from prune_env import PruningEnv, register_target
from prune_env.dense import Network

register_target("trained-for-environments", Trained)


def test_episodes_are_those_of_the_registered_target():
    by_name = PruningEnv("trained-for-environments", rounds=2, steps_per_round=3)
    given = PruningEnv(networks=[Network.of(Trained(), label="seed=0")], rounds=2, steps_per_round=3)
    one, other = (rollout(env, 5, 6) for env in (by_name, given))
    assert same(one, other) and given.labels == [("seed=0", "seed=0")]


def test_the_network_is_put_back_at_each_reset():
    env = PruningEnv(networks=[Network.of(Trained())], rounds=1, steps_per_round=2)
    first, _ = env.reset(seed=1)
    env.step(np.full(env.action_space.shape, 0.5, dtype=np.float32))
    again, _ = env.reset(seed=1)
    assert np.array_equal(first, again)


def test_what_the_networks_decide_is_refused():
    networks = [Network.of(Trained(), protect=("body",))]
    with pytest.raises(TypeError, match=r"networks that are handed in: unknown option 'protect'"):
        PruningEnv(networks=networks, protect=("head",))
    with pytest.raises(TypeError, match="a target or networks, not both"):
        PruningEnv("autoencoder", networks=networks)
    with pytest.raises(ValueError, match="unknown component in component_weights 'tail'"):
        PruningEnv(networks=networks, component_weights={"tail": 2.0})
    assert PruningEnv(networks=[Network.of(Trained())]).config.ema_decay == 0.9
