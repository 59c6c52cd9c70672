"""Ids: what each stands for, with options of the target besides."""

import gymnasium as gym
import pytest

import prune_env
from prune_env.envs import ENVIRONMENTS
from prune_env.targets.data import DataError

QUICK = {"dense_steps": 120, "learning_rate": 0.005, "latent_dim": 4, "batch_size": 32}


def test_registration_is_idempotent():
    prune_env.envs.register_environments()
    assert gym.spec("PruneEnv/Autoencoder-v0").entry_point == "prune_env.envs.registration:make_env"
    assert gym.make("prune_env:PruneEnv/Autoencoder-v0", **QUICK) is not None


STANDS_FOR = {
    "PruneEnv/Autoencoder-v0": {"data": "digits"},
    "PruneEnv/AutoencoderMNIST-v0": {"data": "mnist"},
    "PruneEnv/TDMPCPendulum-v0": {"task": "pendulum", "obs": "state"},
    "PruneEnv/TDMPCPendulumPixels-v0": {"task": "pendulum", "obs": "pixels"},
    "PruneEnv/TDMPCCartpole-v0": {"task": "cartpole-swingup", "obs": "state"},
    "PruneEnv/TDMPCCartpolePixels-v0": {"task": "cartpole-swingup", "obs": "pixels"},
    "PruneEnv/SB3-v0": {},
    "PruneEnv/Pruning-v0": {},
    "PruneEnv/Autoencoder-v1": {"data": "digits"},
    "PruneEnv/TDMPCPendulum-v1": {"task": "pendulum", "obs": "state"},
}


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_options_of_the_target_are_added_to_what_the_id_stands_for(env_id):
    mine = {"controller": "policy", "starts": 2} if "TDMPC" in env_id else {"hidden_layers": 2, **QUICK}
    mine = {"episodes": 2, "batch_size": 32} if "SB3" in env_id else mine
    if env_id == "PruneEnv/TDMPCPendulum-v1":  # no network of this pool ships
        mine |= {"dense_steps": 1000, "eval_every": 1000}
    try:
        target = gym.make(env_id, target_options=mine).unwrapped.network.train_state.target
    except (DataError, ImportError) as error:
        pytest.skip(str(error))
    assert STANDS_FOR[env_id].items() <= target.settings().items()
    steps = target.dense_training.steps
    assert all(getattr(target, name, steps) == value for name, value in mine.items())


@pytest.mark.parametrize(
    ("env_id", "arguments", "message"),
    [
        ("PruneEnv/Autoencoder-v0", {"data": "mnist"}, "data='mnist' contradicts .* data='digits'"),
        ("PruneEnv/Autoencoder-v0", {"target_options": {"data": "mnist"}}, "data='mnist' contradicts"),
        ("PruneEnv/TDMPCPendulum-v0", {"task": "cartpole-swingup"}, "task='cartpole-swingup' contradicts"),
        ("PruneEnv/TDMPCCartpole-v0", {"target_options": {"task": "pendulum"}}, "task='pendulum' contradicts"),
        (
            "PruneEnv/TDMPCPendulum-v0",
            {"target_options": {"obs": "pixels"}},
            "obs='pixels' contradicts",
        ),
    ],
)
def test_an_option_that_contradicts_the_id_is_refused(env_id, arguments, message):
    with pytest.raises(ValueError, match=message):
        gym.make(env_id, **arguments)


def test_an_option_that_repeats_what_the_id_stands_for_is_fine():
    env = gym.make("PruneEnv/Autoencoder-v0", data="digits", **QUICK)
    assert env.unwrapped.pool.options["data"] == "digits"
