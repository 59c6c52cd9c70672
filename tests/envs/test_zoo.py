"""Networks of several kinds, padded: a valid Gymnasium environment, whose padding has no say in anything."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from prune_env.envs import ZOO, ZooEnv
from prune_env.envs.zoo import GROUPS, KINDS

COMMON = {"pool": 2, "rounds": 1, "steps_per_round": 2, "budget": 0.4, "dense_steps": 60}
QUICK = {"kinds": ("simple", "recursive"), **COMMON}


@pytest.fixture(scope="module")
def zoo():
    return ZooEnv(**QUICK)


def table(observation):
    return observation.reshape(GROUPS, -1)


def test_it_is_a_gymnasium_environment():
    env = gym.make(ZOO, disable_env_checker=True, **QUICK)
    check_env(env.unwrapped, skip_render_check=True)


def test_observations_are_those_of_the_kind_with_padding(zoo):
    for kind in zoo.kinds:
        observation, info = zoo.reset(seed=3, options={"kind": kind, "network": 1})
        assert info["kind"] == kind
        groups = len(zoo.current.group_names)
        rows = table(observation)
        assert rows[:groups, -1].tolist() == [1] * groups and not rows[groups:].any()
        inner, _ = zoo.current.reset(seed=3, options={"network": 1})
        np.testing.assert_array_equal(rows[:groups, :-1], inner.reshape(groups, -1))


def test_actions_of_padding_are_ignored(zoo):
    ends = []
    for padding in (0.0, 0.9):
        zoo.reset(seed=5, options={"kind": "simple", "network": 0})
        groups = len(zoo.current.group_names)
        action = np.full(GROUPS, padding, dtype=np.float32)
        action[:groups] = np.linspace(0.2, 0.6, groups)
        observation, reward, over, _, info = zoo.step(action)
        assert over and info["kind"] == "simple" and info["reward_terms"]["sparsity"] >= 0.4
        ends.append((reward, observation.tolist()))
    assert ends[0] == ends[1]


def test_every_kind_is_drawn_and_the_same_seed_draws_the_same():
    drawn = []
    for _ in range(2):
        env = ZooEnv(**QUICK)
        env.reset(seed=0)
        drawn.append([env.reset()[1]["kind"] for _ in range(12)])
    assert drawn[0] == drawn[1] and set(drawn[0]) == {"simple", "recursive"}


def test_a_kind_may_be_left_out(zoo):
    env = ZooEnv(leave_out=["recursive"], **QUICK)
    assert env.kinds == ("simple",) and len(env.pools) == 1 and len(zoo.pools) == 2
    with pytest.raises(ValueError, match="unknown kind 'recursive'"):
        env.reset(options={"kind": "recursive"})
    with pytest.raises(ValueError, match="no kind of network is left"):
        ZooEnv(kinds=["simple"], leave_out=["simple"], **COMMON)
    with pytest.raises(ValueError, match=rf"unknown kind 'cnn'.* \(known: {', '.join(KINDS)}\)"):
        ZooEnv(kinds=["cnn"])


def test_actions_of_another_shape_are_refused(zoo):
    zoo.reset(seed=0)
    with pytest.raises(ValueError, match=r"must have shape \(16,\), a pruning ratio for each group; got \(3,\)"):
        zoo.step(np.zeros(3))
