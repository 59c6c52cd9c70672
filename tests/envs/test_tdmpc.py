"""A TD-MPC controller in the environment: cut with its slow copies, it goes on collecting episodes and learning."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import prune_env  # noqa: F401

SMALL = {"dense_steps": 600, "starts": 6, "controller": "policy", "steps_per_round": 3}


@pytest.fixture(scope="module")
def env():
    return gym.make("PruneEnv/Pruning-v0", target="tdmpc", rounds=2, budget=0.6, **SMALL).unwrapped


def test_slow_copies_are_cut_by_the_same_indices(env):
    env.reset(seed=0)
    env.step(np.full(env.action_space.shape, 0.5))
    learner = env.network.learner
    twins = learner.target.twins(learner.model)
    assert twins
    for prefix, twin in twins:
        part = learner.model.get_submodule(prefix)
        assert [p.shape for p in part.parameters()] == [p.shape for p in twin.parameters()]


def test_an_episode_ends_at_the_budget_and_repeats_itself(env):
    trails = []
    for _ in range(2):
        observation, _ = env.reset(seed=3)
        trail = [observation]
        for _ in range(2):
            observation, reward, over, _, info = env.step(np.full(env.action_space.shape, 0.4))
            trail += [observation, reward]
            if over:
                break
        trails.append(trail)
    assert all(np.array_equal(a, b) for a, b in zip(*trails, strict=True))
    assert info["collapsed"] or info["reward_terms"]["sparsity"] >= 0.6


def test_a_checkpoint_brings_its_slow_copies_back(env):
    fresh = gym.make("PruneEnv/Pruning-v0", target="tdmpc", rounds=2, budget=0.6, **SMALL).unwrapped
    env.reset(seed=0)
    both = [e.network.learner.surgeon.twins for e in (env, fresh)]
    for (_, one), (_, other) in zip(*both, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_both_optimizers_feed_the_tracker(env):
    env.reset(seed=0)
    gradient = env.network.learner.tracker.groups()[0]
    names = env.group_names
    assert gradient.shape == (len(names),) and (gradient > 0).all()  # the policy's groups too
    assert any(name.startswith("pi.") for name in names)
