"""Algorithms by name, and their YAML files: everything in them is taken by the algorithm that they are for."""

import inspect
from importlib.resources import files

import gymnasium as gym
import numpy as np
import pytest
import yaml
from gymnasium.spaces import Box

from prune_env.agents import ALGORITHMS, load_hyperparams
from prune_env.agents.settings import POLICIES, algorithm, linear_schedule, parse_schedule, policy_class
from prune_env.envs import ENVIRONMENTS

BESIDE = {"normalize": bool, "n_timesteps": int, "n_envs": int}  # rl-zoo keeps these next to the algorithm's own
OURS = {"behaviour_cloning"}
FILES = sorted((path.name.removesuffix(".yml"), path) for path in (files("prune_env.agents") / "hyperparams").iterdir())


class Blank(gym.Env):
    """Spaces like those of a pruning environment with 3 groups and 4 columns."""

    observation_space = Box(-20, 20, (12,), dtype=np.float32)
    action_space = Box(-1, 1, (3,), dtype=np.float32)


def blocks():
    for name, path in FILES:
        for block, settings in yaml.safe_load(path.read_text()).items():
            yield pytest.param(name, block, settings, id=f"{name}-{block}")


def test_every_file_is_for_an_algorithm_and_every_algorithm_has_one():
    assert [name for name, _ in FILES] == sorted(ALGORITHMS)


@pytest.mark.parametrize(("name", "block", "settings"), list(blocks()))
def test_every_key_is_an_argument_of_the_algorithm(name, block, settings):
    assert block == "default" or block in ENVIRONMENTS
    known = set(inspect.signature(ALGORITHMS[name].__init__).parameters)
    assert set(settings) <= known | set(BESIDE) | OURS
    for key, kind in BESIDE.items():
        assert isinstance(settings[key], kind)
    assert settings["policy"] in POLICIES


@pytest.mark.parametrize(("name", "block", "settings"), list(blocks()))
def test_the_algorithm_can_be_made_with_it(name, block, settings):
    arguments = {key: parse_schedule(value) for key, value in settings.items() if key not in {*BESIDE, *OURS}}
    if "learning_starts" in arguments:
        arguments["buffer_size"] = 10
    made = ALGORITHMS[name](policy_class(arguments.pop("policy")), Blank(), device="cpu", seed=0, **arguments)
    assert 0 < made.lr_schedule(1.0) <= 0.1
    if "n_steps" in settings:  # otherwise SB3 warns of batches that are cut short
        assert made.n_steps * settings["n_envs"] % made.batch_size == 0


def test_an_environment_of_its_own_goes_before_the_default(tmp_path, monkeypatch):
    text = "default: {gamma: 0.5, n_envs: 1}\nPruneEnv/Autoencoder-v0: {gamma: 0.25}\n"
    (tmp_path / "hyperparams").mkdir()
    (tmp_path / "hyperparams" / "ppo.yml").write_text(text)
    monkeypatch.setattr("prune_env.agents.settings.files", lambda package: tmp_path)
    assert load_hyperparams("ppo", "PruneEnv/Autoencoder-v0") == {"gamma": 0.25}
    assert load_hyperparams("ppo", "PruneEnv/Pruning-v0") == {"gamma": 0.5, "n_envs": 1}
    assert load_hyperparams("sac", "PruneEnv/Pruning-v0") == {}


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="unknown algorithm 'reinforce'; known algorithms: ppo, sac, td3, ddpg"):
        algorithm("reinforce")
    with pytest.raises(ValueError, match="unknown policy network 'CnnPolicy'; known: MlpPolicy, GroupPolicy"):
        policy_class("CnnPolicy")


def test_a_linear_schedule_falls_to_zero():
    schedule = linear_schedule(0.004)
    assert [schedule(remaining) for remaining in (1.0, 0.5, 0.0)] == [0.004, 0.002, 0.0]
    parsed = parse_schedule("lin_2e-3")
    assert [parsed(remaining) for remaining in (1.0, 0.25)] == [0.002, 0.0005]


@pytest.mark.parametrize("value", [0.001, "auto", 64, None, {"net_arch": [64]}])
def test_anything_else_is_left_as_it_is(value):
    assert parse_schedule(value) == value
