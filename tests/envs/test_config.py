"""The configuration: bad arguments are named, and fields hold for an episode."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from small_envs import QUICK

from prune_env.envs import PruningConfig, PruningEnv
from prune_env.envs.config import FIELDS


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 1.2}, "budget is a sparsity"),
        ({"budget": 0.0}, "budget is a sparsity"),
        ({"budget": float("nan")}, "budget is a sparsity"),
        ({"budget": (0.8, 0.3)}, "from low to high"),
        ({"objective": "speed"}, "area, budget"),
        ({"objective": "budget"}, "needs a budget"),
        ({"observation": "pixels"}, "importance, full"),
        ({"observation": ("gradient", "hue")}, "column 'hue'"),
        ({"criterion": "beauty"}, "l1, l2"),
        ({"repair": "glue"}, "batchnorm"),
        ({"budget_unit": "watts"}, "parameters, macs"),
        ({"split": "test"}, "'train' or 'held_out'"),
        ({"schedule": "sudden"}, "geometric, linear, cubic, one-shot"),
        ({"learning_rate_factor": -1.0}, "learning_rate_factor"),
        ({"objective": "weighted", "objective_options": {"joules": 1.0}}, "reward term 'joules'"),
        ({"component_weights": {"encoder": 0}}, "component_weights"),
        ({"protect": "encoder"}, "protect must be a sequence"),
        ({"rounds": 0}, "rounds"),
        ({"steps_per_round": -1}, "steps_per_round"),
        ({"max_ratio": 1.0}, "max_ratio"),
        ({"data": "cifar"}, "digits, mnist"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_bad_arguments_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        PruningEnv("autoencoder", **(QUICK | options))


def test_unknown_target_lists_the_known_ones():
    with pytest.raises(ValueError, match="autoencoder"):
        gym.make("PruneEnv/Pruning-v0", target="transformer")


def test_options_of_the_wrong_kind_are_named():
    for name in ("rounds", "steps_per_round", "max_ratio", "pool"):
        with pytest.raises(ValueError, match=name):
            PruningEnv("autoencoder", **(QUICK | {name: "two"}))


def test_an_unknown_keyword_is_a_type_error_that_knows_better():
    with pytest.raises(TypeError, match="unknown option 'round'; did you mean 'rounds'"):
        PruningEnv("autoencoder", round=2)
    with pytest.raises(TypeError, match="'latent_dims'; did you mean 'latent_dim'"):
        PruningEnv("autoencoder", latent_dims=2)
    with pytest.raises(TypeError, match="'widht'; did you mean 'width'"):
        PruningEnv("tdmpc", widht=2)
    with pytest.raises(TypeError, match="unexpected keyword argument 'frameskip'"):  # as torchrl's GymEnv expects
        gym.make("PruneEnv/Autoencoder-v0", frameskip=1)


def test_a_configuration_and_its_fields_as_keywords_are_the_same(make):
    options = {name: value for name, value in QUICK.items() if name not in FIELDS}
    config = PruningConfig(target="autoencoder", target_options=options, rounds=2, steps_per_round=2)
    first, second = PruningEnv(config), PruningEnv("autoencoder", rounds=2, steps_per_round=2, **options)
    assert first.config == second.config
    changed = PruningEnv(config, rounds=3).config
    assert changed == replace(config, rounds=3)


def test_fields_of_the_configuration_hold_for_one_episode(make):
    env = make(rounds=3, budget=0.4).unwrapped
    _, info = env.reset(seed=0, options={"rounds": 1, "budget": None, "criterion": "l2", "steps_per_round": 0})
    assert info["reward_terms"]["budget"] == 0
    assert env.step(np.full(7, 0.3))[2]
    env.reset(seed=0)
    assert env.episode.budget == 0.4 and not env.step(np.full(7, 0.3))[2]
    for budget in ((0.2, 0.3), [0.25, 0.3, 0.35]):
        env.reset(seed=0, options={"budget": budget})
        assert min(budget) <= env.episode.budget <= max(budget)


@pytest.mark.parametrize("options", [{"network": 0.7}, {"network": None}, {"budget": {}}, {"budget": "much"}, 1])
def test_reset_options_of_the_wrong_kind_are_refused(make, options):
    with pytest.raises(ValueError, match=r"must be|a budget is"):
        make().reset(options=options)
