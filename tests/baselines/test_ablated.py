"""Ablated policies: what is taken away is the same for all networks, or for all groups, and nothing else changes."""

import numpy as np
import pytest

from prune_env import PruningEnv
from prune_env.benchmark import make_policy, policies

OPTIONS = {"hidden_layers": 1, "dense_steps": 200, "learning_rate": 0.01, "rounds": 1, "steps_per_round": 1, "pool": 2}
SEEN = []


class Reader:
    """Remembers what it is shown."""

    privileged, learned = False, True

    def __init__(self, env):
        self.groups = len(env.group_names)

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        SEEN.append(np.array(observation).reshape(self.groups, -1))
        return np.full(self.groups, 0.5, dtype=np.float32), state


@pytest.fixture(autouse=True)
def reader(monkeypatch):
    monkeypatch.setattr(policies, "_REGISTERED", {"a-reader": Reader})


@pytest.fixture(scope="module")
def env():
    return PruningEnv(target="autoencoder", split="held_out", **OPTIONS)


def shown(env, **options):
    """The whole observation and what the policy is shown of it, [G, F] by column, for every network."""
    text = ",".join(f"{key}={value}" for key, value in {"policy": "a-reader", "networks": 2, **options}.items())
    policy = make_policy(f"ablated:{text}", env)
    assert policy.learned and not policy.privileged
    whole, seen = [], []
    for network in range(2):
        observation, info = env.reset(seed=0, options={"network": network})
        policy.predict(observation)
        names = info["columns"]
        whole.append(dict(zip(names, observation.reshape(len(info["groups"]), -1).T, strict=True)))
        seen.append(dict(zip(names, SEEN.pop().T, strict=True)))
    return whole, seen


def test_averaged_over_training_networks(env):
    whole, seen = shown(env)
    training = PruningEnv(target="autoencoder", split="train", **OPTIONS)
    usual = np.mean([training.reset(seed=0, options={"network": i})[0] for i in range(2)], axis=0).reshape(3, -1)
    for name, column in zip(seen[0], usual.T, strict=True):
        if name in ("gradient", "fisher", "bayes"):
            np.testing.assert_allclose(seen[0][name], column)
            np.testing.assert_array_equal(seen[0][name], seen[1][name])
            assert not np.allclose(seen[0][name], whole[0][name])
        else:
            np.testing.assert_array_equal(seen[0][name], whole[0][name])


def test_equal_over_groups(env):
    whole, seen = shown(env, part="sizes", how="groups")
    for name, column in seen[1].items():
        if name in ("channels", "size", "kept", "parameters"):
            np.testing.assert_allclose(column, whole[1][name].mean())
        else:
            np.testing.assert_array_equal(column, whole[1][name])


def test_all_that_tells_networks_and_groups_apart(env):
    _, (one, other) = shown(env, part="all")
    assert all(np.array_equal(one[name], other[name]) for name in ("gradient", "size", "parameters"))


def test_names_are_checked(env):
    for text, said in {
        "part=weights": r"unknown part 'weights' \(known: importance, sizes, all\)",
        "how=layers": "how must be 'networks' or 'groups'",
        "policy=global-l2": "'global-l2' is privileged",
    }.items():
        with pytest.raises(ValueError, match=said):
            make_policy(f"ablated:{text}", env)
