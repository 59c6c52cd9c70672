"""One contract over everything that is registered: targets, environments, policies, algorithms."""

import gymnasium as gym
import numpy as np
import pytest

import prune_env
from prune_env.agents import ALGORITHMS, load_hyperparams
from prune_env.benchmark import known_policies
from prune_env.envs import ENVIRONMENTS
from prune_env.gates import GATES
from prune_env.testing import check_policy, check_target

COSTLY = {
    **{f"gates-{rule}": f"gates-{rule}:steps=2" for rule in GATES},
    "ablated": "ablated:networks=2",
    "random-search": "random-search:evaluations=2",
    "cma-es": "cma-es:evaluations=12",
    "amc": "amc:episodes=3,warmup=1",
    "netadapt": "netadapt:iterations=1,steps=0",
    "soft-grid": "soft-grid:evaluations=2",
    "soft-gradient": "soft-gradient:iterations=2",
    "grid": "grid:evaluations=2,points=2",
    "tpe": "tpe:evaluations=3,random_trials=1",
    "nsga2": "nsga2:evaluations=6,population=2",
    "evopress": "evopress:evaluations=5,offspring=2,survivors=[1],efforts=[1]",
    "halving": "halving:evaluations=3,rungs=2",
    "knapsack": "knapsack:points=1,steps=0",
}


@pytest.fixture(scope="module")
def env():
    made = gym.make("PruneEnv/Autoencoder-v0", latent_dim=4, dense_steps=120, learning_rate=0.005, steps_per_round=1)
    return made.unwrapped


@pytest.mark.parametrize("name", prune_env.known_targets())
def test_targets(name):
    report = check_target(name)
    assert len(report.grouping) > 0 and not report.problems


@pytest.mark.parametrize("name", known_policies())
def test_policies(name, env):
    check_policy(COSTLY.get(name, name), env)


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_ids_are_registered_with_their_version(env_id):
    assert gym.spec(env_id).version == int(env_id.rpartition("-v")[2])
    assert gym.spec(env_id).kwargs == {"env_id": env_id}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_has_hyperparameters(name):
    assert {"policy", "n_timesteps", "n_envs"} <= set(load_hyperparams(name, "PruneEnv/Autoencoder-v0"))


def test_policies_agree_on_a_batch(env):
    """A plain policy answers a batch as it answers one observation."""
    first, _ = env.reset(seed=0)
    env.step(np.full(7, 0.2))
    second, _ = env.reset(seed=1)
    for name, factory in known_policies().items():
        policy = factory(env)
        if policy.privileged or name == "random":
            continue
        batch, _ = policy.predict(np.stack([first, second]))
        assert np.array_equal(batch, np.stack([policy.predict(o)[0] for o in (first, second)])), name
