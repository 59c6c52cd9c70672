"""The caller's torch threads change no number, and are left as they were."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import prune_env  # noqa: F401
from prune_env.dense import CheckpointSpec, load_checkpoint
from prune_env.targets.autoencoder import Autoencoder
from prune_env.targets.tdmpc import TDMPC

ENVIRONMENTS = {
    "PruneEnv/Autoencoder-v0": (Autoencoder, {"dense_steps": 150, "learning_rate": 0.005, "batch_size": 512}),
    "PruneEnv/TDMPCPendulum-v0": (TDMPC, {"starts": 4, "steps_per_round": 3}),
}
TRAINED = {
    "autoencoder": {"dense_steps": 30, "batch_size": 512},
    "tdmpc": {"width": 8, "latent_dim": 4, "encoder_width": 8, "batch_size": 8, "eval_every": 10, "dense_steps": 20},
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "first"))
    yield
    torch.set_num_threads(1)


def with_threads(number, function, *arguments):
    torch.set_num_threads(number)
    result = function(*arguments)
    assert torch.get_num_threads() == number
    return result


def watch(monkeypatch, target):
    """The numbers of threads with which the target trains and scores."""
    seen = set()

    def watched(method):
        def watch_and_call(*arguments):
            seen.add(torch.get_num_threads())
            return method(*arguments)

        return watch_and_call

    for name in ("training_step", "score"):
        monkeypatch.setattr(target, name, watched(getattr(target, name)))
    return seen


def episode(env_id, options):
    """All that an episode and a look at its test score say, as float64 []."""
    env = gym.make(env_id, rounds=2, budget=0.5, disable_env_checker=True, **options)
    said = [env.reset(seed=0)[0]]
    for _ in range(2):
        observation, reward, *_ = env.step(np.full(env.action_space.shape, 0.4, np.float32))
        said += [observation, [reward]]
    return np.concatenate([*said, [env.unwrapped.episode.retained("test")]])


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_episodes_are_the_same_with_two_threads(env_id, tmp_path, monkeypatch):
    target, options = ENVIRONMENTS[env_id]
    seen = watch(monkeypatch, target)
    one = with_threads(1, episode, env_id, options)
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "second"))  # dense training, too, is done with two
    two = with_threads(2, episode, env_id, options)
    np.testing.assert_array_equal(one, two)
    assert seen == {1}


@pytest.mark.parametrize("target", TRAINED)
def test_dense_networks_are_the_same_with_two_threads(target, tmp_path, monkeypatch):
    spec = CheckpointSpec(target, TRAINED[target])
    one = with_threads(1, load_checkpoint, spec).state()
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "second"))
    two = with_threads(2, load_checkpoint, spec).state()
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
