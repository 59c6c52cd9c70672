"""What raises changes nothing: network, importance, batches and random states are as before, and go on from there."""

import math
import random

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from prune_env.envs import COSTS, OBJECTIVES
from prune_env.envs.batches import Batches
from prune_env.targets import registry
from prune_env.targets.examples.simple import Simple
from prune_env.targets.tdmpc import TDMPC

OPTIONS = {"dense_steps": 60, "width": 8, "steps_per_round": 3, "rounds": 3}
OPTIONS |= {"criterion": "random", "stop_on_collapse": False}
TINY = {"width": 8, "latent_dim": 4, "encoder_width": 8, "batch_size": 8, "steps_per_epoch": 10, "starts": 2}


class Fragile(Simple):
    """Its data server can be gone, after some batches; it drops out with torch's global random state."""

    left = math.inf

    def network(self):
        net = super().network()
        net.first.add_module("dropout", nn.Dropout(0.1))
        return net

    def batches(self, generator):
        for batch in super().batches(generator):
            Fragile.left -= 1
            if Fragile.left < 0:
                raise OSError("data server gone")
            yield batch


@pytest.fixture
def env(monkeypatch):
    monkeypatch.setitem(registry._TARGETS, "fragile", Fragile)
    monkeypatch.setattr(Fragile, "left", math.inf)

    def make(target="fragile", **options):
        return gym.make(
            "PruneEnv/Pruning-v0", target=target, disable_env_checker=True, **{**OPTIONS, **options}
        ).unwrapped

    return make


def act(env, ratio=0.3):
    return env.step(np.full(env.action_space.shape, ratio, np.float32))


def everything(env):
    return {name: tensor.clone() for name, tensor in env.network.train_state.state().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_step_that_raised_can_be_taken_again_as_if_nothing_had_happened(env, after):
    whole, broken = env(), env()
    expected = [whole.reset(seed=1)[0], *(act(whole)[:2] for _ in range(3))]
    assert np.array_equal(broken.reset(seed=1)[0], expected[0])
    for number in range(3):
        before, generator = everything(broken), broken.episode.generator.get_state()
        Fragile.left = after
        with pytest.raises(OSError, match="server gone"):
            act(broken)
        assert same(before, everything(broken)) and torch.equal(generator, broken.episode.generator.get_state())
        assert broken.episode.round == number
        Fragile.left = math.inf
        observation, reward = act(broken)[:2]
        assert np.array_equal(observation, expected[number + 1][0]) and reward == expected[number + 1][1]


@pytest.mark.parametrize("wrong", [math.nan, "text", [[1.0]], None])
def test_an_objective_that_gives_no_number_undoes_the_step(env, monkeypatch, wrong):
    given = {"value": 0.0}
    monkeypatch.setitem(OBJECTIVES, "odd", lambda: lambda terms: given["value"])
    env = env("simple", objective="odd")
    env.reset(seed=0)
    before = everything(env)
    given["value"] = wrong
    with pytest.raises(ValueError, match=r"objective 'odd' gives .*finite number"):
        act(env)
    assert same(before, everything(env)) and env.episode.round == 0
    given["value"] = 1.0
    assert act(env)[1] == 1.0


def test_a_reward_that_overflows_is_refused(env):
    env = env("simple", objective="weighted", objective_options={"macs": 1e308})
    with pytest.raises(ValueError, match="objective 'weighted' gives"):
        env.reset(seed=0)


def test_a_cost_that_is_no_number_is_refused(env, monkeypatch):
    monkeypatch.setitem(COSTS, "odd", lambda network: lambda widths: math.nan)
    with pytest.raises(ValueError, match=r"cost 'odd' of .* must be a number"):
        env("simple").reset(seed=0)


def test_a_reset_that_is_refused_leaves_the_running_episode(env):
    whole, broken = env("simple"), env("simple")
    for one in (whole, broken):
        one.reset(seed=2)
        act(one)
    wrong = [{"budget": 0.9999999}, {"budget": "x"}, {"network": 7}, {"rounds": 0}, {"component_weights": {"no": 1.0}}]
    for options in [*wrong, {"nothing": 1}, {"criterion": "no"}, 5]:
        with pytest.raises(ValueError):
            broken.reset(seed=9, options=options)
    assert all(np.array_equal(a, b) for a, b in zip(act(whole)[:2], act(broken)[:2], strict=True))
    assert np.array_equal(whole.reset()[0], broken.reset()[0])  # and the draws of networks, budgets and batches


def test_global_random_states_are_neither_read_nor_changed(env):
    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002

    rewards = []
    for seed in (0, 1):
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)  # noqa: NPY002
        before = states()
        fragile = env()
        fragile.reset(seed=3)
        rewards.append([act(fragile)[1] for _ in range(2)])
        assert states() == before
    assert rewards[0] == rewards[1]  # dropout draws from the episode's own seed


@pytest.mark.parametrize("target", [Simple(width=8), TDMPC(**TINY)], ids=["generator", "replay"])
def test_batches_go_back_to_their_mark(target):
    def drawn(batches, generator):
        torch.rand(1, generator=generator)  # others draw in between
        batch = next(batches)
        if isinstance(target, Simple):
            return batch.inputs[0]
        batch.updates += 1
        return batch.updates + torch.rand(1, generator=generator)

    generator = torch.Generator().manual_seed(0)
    batches = Batches(target, generator)
    first = [drawn(batches, generator) for _ in range(3)]
    state = generator.get_state()
    batches.mark()
    expected = [drawn(batches, generator) for _ in range(4)]
    for _ in range(2):
        batches.rewind()
        generator.set_state(state)
        batches.mark()
        again = [drawn(batches, generator) for _ in range(4)]
        assert all(torch.equal(a, b) for a, b in zip(again, expected, strict=True))
    assert not torch.equal(first[0], expected[0])
