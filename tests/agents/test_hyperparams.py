"""Algorithms by name, and their YAML files: everything in them is taken by the algorithm that they are for."""

import inspect
from importlib import import_module
from importlib.resources import files

import gymnasium as gym
import numpy as np
import pytest
import yaml
from gymnasium.spaces import Box

from prune_env.agents import ALGORITHMS, check_hyperparams, load_hyperparams, read_hyperparams
from prune_env.agents.callbacks import Calibration
from prune_env.agents.hyperparameters import BESIDE as ALL_BESIDE
from prune_env.agents.hyperparameters import RANGES, known_hyperparams, make_algorithm, rounds_per_update
from prune_env.agents.policies import GroupPolicy
from prune_env.agents.settings import FOR_RL_ZOO, POLICIES, algorithm, linear_schedule, parse_schedule, policy_class
from prune_env.envs import ENVIRONMENTS

BESIDE = {"normalize": bool, "n_timesteps": int, "n_envs": int}  # rl-zoo keeps these next to the algorithm's own
OURS = {"behaviour_cloning", "actions"}
FILES = sorted((path.name.removesuffix(".yml"), path) for path in (files("prune_env.agents") / "hyperparams").iterdir())


class Blank(gym.Env):
    """Spaces like those of a pruning environment with 3 groups and 4 columns."""

    observation_space = Box(-20, 20, (12,), dtype=np.float32)
    action_space = Box(-1, 1, (3,), dtype=np.float32)


def blocks():
    for name, path in FILES:
        for block in sorted(yaml.safe_load(path.read_text()).keys() - {"behaviour_cloning"}):
            yield pytest.param(name, block, load_hyperparams(name, block), id=f"{name}-{block}")


def test_every_file_is_for_an_algorithm_and_every_algorithm_has_one():
    assert [name for name, _ in FILES] == sorted(ALGORITHMS)


@pytest.mark.parametrize(("name", "block", "settings"), list(blocks()))
def test_every_key_is_an_argument_of_the_algorithm(name, block, settings):
    assert block == "default" or block in ENVIRONMENTS
    known = set(inspect.signature(algorithm(name).__init__).parameters)
    assert set(settings) <= known | set(BESIDE) | OURS
    for key, kind in BESIDE.items():
        assert isinstance(settings[key], kind)
    assert settings["policy"] in POLICIES


@pytest.mark.parametrize(("name", "block", "settings"), list(blocks()))
def test_the_algorithm_can_be_made_with_it(name, block, settings):
    arguments = {key: parse_schedule(value) for key, value in settings.items() if key not in {*BESIDE, *OURS}}
    if "learning_starts" in arguments:
        arguments["buffer_size"] = 10
    made = algorithm(name)(policy_class(arguments.pop("policy"), name), Blank(), device="cpu", seed=0, **arguments)
    assert 0 < made.lr_schedule(1.0) <= 0.1
    if "n_steps" in settings and "batch_size" in settings:  # otherwise SB3 warns of batches that are cut short
        assert made.n_steps * settings["n_envs"] % made.batch_size == 0


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_is_meant_for_rl_zoo_is_there_and_is_left_out_here(name):
    written = yaml.safe_load((files("prune_env.agents") / "hyperparams" / f"{name}.yml").read_text())["default"]
    assert written["env_wrapper"] == [{"gymnasium.wrappers.RescaleAction": {"min_action": -1.0, "max_action": 1.0}}]
    settings = load_hyperparams(name, "PruneEnv/Pruning-v0")
    assert settings.keys() == written.keys() - set(FOR_RL_ZOO)
    if settings["policy"] == "GroupPolicy":  # rl-zoo3 imports by path, and does not calibrate
        assert imported(written["policy"]) is GroupPolicy and imported(written["callback"]) is Calibration
    else:
        assert "callback" not in written and settings["normalize"] is True


def imported(path):
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def test_a_warm_start_is_named_outside_the_blocks_that_rl_zoo_reads():
    assert load_hyperparams("ppo", "PruneEnv/TDMPCPendulum-v0")["behaviour_cloning"] == "gradient"
    assert "behaviour_cloning" not in load_hyperparams("ppo", "PruneEnv/Pruning-v0")


def test_the_scale_of_actions_is_that_of_the_wrapper_that_rl_zoo_gets():
    assert load_hyperparams("ppo", "PruneEnv/Autoencoder-v1")["actions"] == "log-ratio"
    assert "actions" not in load_hyperparams("ppo", "PruneEnv/Autoencoder-v0")
    with pytest.raises(ValueError, match=r"unknown actions 'log' \(known: ratio, log-ratio\)"):
        check_hyperparams("ppo", {"actions": "log"})


def test_an_environment_of_its_own_goes_before_the_default(tmp_path, monkeypatch):
    text = "default: {gamma: 0.5, n_envs: 1}\nPruneEnv/Autoencoder-v0: {gamma: 0.25}\n"
    (tmp_path / "hyperparams").mkdir()
    (tmp_path / "hyperparams" / "ppo.yml").write_text(text)
    monkeypatch.setattr("prune_env.agents.settings.files", lambda package: tmp_path)
    assert load_hyperparams("ppo", "PruneEnv/Autoencoder-v0") == {"gamma": 0.25}
    assert load_hyperparams("ppo", "PruneEnv/Pruning-v0") == {"gamma": 0.5, "n_envs": 1}
    assert load_hyperparams("sac", "PruneEnv/Pruning-v0") == {}


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown algorithm 'reinforce' \(known: ppo, sac, td3, ddpg, a2c, tqc, trpo"):
        algorithm("reinforce")
    with pytest.raises(ValueError, match=r"unknown policy network 'CnnPolicy'.* \(known: MlpPolicy, GroupPolicy\)"):
        policy_class("CnnPolicy", "ppo")


def test_a_linear_schedule_falls_to_zero():
    schedule = linear_schedule(0.004)
    assert [schedule(remaining) for remaining in (1.0, 0.5, 0.0)] == [0.004, 0.002, 0.0]
    parsed = parse_schedule("lin_2e-3")
    assert [parsed(remaining) for remaining in (1.0, 0.25)] == [0.002, 0.0005]


@pytest.mark.parametrize("value", [0.001, "auto", 64, None, {"net_arch": [64]}])
def test_anything_else_is_left_as_it_is(value):
    assert parse_schedule(value) == value


# ---------------------------------------------------------------------- checked against the constructor
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_what_a_file_says_is_accepted(algo):
    check_hyperparams(algo, load_hyperparams(algo, "PruneEnv/Autoencoder-v0"))


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_every_default_of_a_constructor_is_accepted(algo):
    """The types and ranges are no narrower than what SB3 itself uses."""
    parameters = inspect.signature(algorithm(algo).__init__).parameters
    defaults = {name: parameters[name].default for name in known_hyperparams(algo) if name not in ALL_BESIDE}
    del defaults["policy"]
    check_hyperparams(algo, defaults)


def test_every_range_is_of_a_hyperparameter_that_there_is():
    assert set(RANGES) <= {name for algo in ALGORITHMS for name in known_hyperparams(algo)}


@pytest.mark.parametrize(
    ("algo", "wrong", "said"),
    [
        ("ppo", {"learning_rat": 0.1}, "unknown option 'learning_rat'; did you mean 'learning_rate'?"),
        ("ppo", {"tau": 0.1}, "hyperparameters of ppo: unknown option 'tau'"),
        ("ppo", {"seed": 1}, "hyperparameters of ppo: unknown option 'seed'"),
        ("ppo", {"device": "cuda"}, "hyperparameters of ppo: unknown option 'device'"),
        ("ppo", {"learning_rate": "fast"}, "ppo's learning_rate must be a number or a schedule lin_NUMBER"),
        ("ppo", {"learning_rate": "lin_x"}, "ppo's learning_rate must be a number or a schedule"),
        ("ppo", {"learning_rate": "lin_-1"}, r"in \[0, inf\); got 'lin_-1'"),
        ("ppo", {"learning_rate": float("nan")}, "ppo's learning_rate must be a number"),
        ("ppo", {"learning_rate": -1}, r"ppo's learning_rate must be .*in \[0, inf\); got -1"),
        ("ppo", {"n_steps": 2.5}, "ppo's n_steps must be a whole number"),
        ("ppo", {"n_steps": 0}, r"ppo's n_steps must be a whole number, in \[1, inf\); got 0"),
        ("ppo", {"n_steps": True}, "ppo's n_steps must be a whole number"),
        ("ppo", {"gamma": 1.5}, r"ppo's gamma must be a number, in \[0, 1\]; got 1.5"),
        ("ppo", {"normalize_advantage": "yes"}, "ppo's normalize_advantage must be true or false"),
        ("ppo", {"policy_kwargs": [1]}, "ppo's policy_kwargs must be a dict or null"),
        ("ppo", {"rollout_buffer_class": "x"}, "ppo's rollout_buffer_class must be null"),
        ("ppo", {"n_envs": 0}, r"ppo's n_envs must be a whole number, in \[1, inf\)"),
        ("ppo", {"policy": "CnnPolicy"}, "unknown policy network 'CnnPolicy'"),
        ("ppo", {"noise_type": "normal", "noise_std": 0.1}, "ppo takes no action noise"),
        ("td3", {"noise_type": "normal"}, "noise_type and noise_std belong together"),
        ("td3", {"noise_type": "pink", "noise_std": 0.1}, "unknown noise_type 'pink'"),
        ("td3", {"train_freq": [1, "year"]}, 'train_freq must be a whole number or \\[NUMBER, "step" or "episode"\\]'),
        ("crossq", {"policy": "GroupPolicy"}, "there is no policy over groups for crossq; give policy=MlpPolicy"),
        ("sac", {"action_noise": "normal"}, "unknown option 'action_noise'"),
    ],
)  # fmt: skip
def test_a_wrong_hyperparameter_is_named(algo, wrong, said):
    with pytest.raises(ValueError, match=said):
        check_hyperparams(algo, wrong)


def test_what_only_the_constructor_refuses_is_named_too():
    with pytest.raises(ValueError, match=r"ppo cannot be made with these hyperparameters \(.*net_arc.*\): "):
        make_algorithm("ppo", Blank(), {"policy_kwargs": {"net_arc": [8]}}, seed=0, tensorboard_log=None)


def test_action_noise_as_in_rl_zoo():
    settings = {"policy": "MlpPolicy", "buffer_size": 10, "noise_type": "normal", "noise_std": 0.25}
    made = make_algorithm("td3", Blank(), settings, seed=0, tensorboard_log=None)
    assert made.action_noise._sigma.tolist() == [0.25] * 3


def test_hyperparameters_of_the_caller_stay_as_they_are():
    settings = {"policy_kwargs": {"net_arch": [8]}}
    make_algorithm("a2c", Blank(), settings, seed=0, tensorboard_log=None)
    assert settings == {"policy_kwargs": {"net_arch": [8]}}


def test_rounds_between_updates():
    assert rounds_per_update("ppo", {"n_steps": 8}, 4) == 32
    assert rounds_per_update("a2c", {}, 2) == 10
    assert rounds_per_update("sac", {}, 4) == 4
    assert rounds_per_update("sac", {"train_freq": 3}, 2) == 6
    assert rounds_per_update("sac", {"train_freq": [2, "episode"]}, 1) == 1


def test_a_package_that_is_missing_is_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sb3_contrib", None)
    for name, entry in ALGORITHMS.items():
        if isinstance(entry, str):
            with pytest.raises(
                ValueError, match=rf"{entry.rpartition('.')[2]} needs sb3-contrib .*pip install 'prune_env\[contrib\]'"
            ):
                algorithm(name)


# ---------------------------------------------------------------------- files
def test_a_file_of_hyperparameters(tmp_path):
    path = tmp_path / "best.yaml"
    path.write_text("# by tune\nlearning_rate: 0.001\npolicy_kwargs: {hidden: 8}\n")
    assert read_hyperparams(path) == {"learning_rate": 0.001, "policy_kwargs": {"hidden": 8}}
    for text in ("", "- 1", "a", "{1: 2}", "[1", "\x00"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"best\.yaml is no file of hyperparameters"):
            read_hyperparams(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="no file of hyperparameters"):
        read_hyperparams(path)
