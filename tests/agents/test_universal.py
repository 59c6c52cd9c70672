"""A policy over groups in a file of its own: it acts as the agent did, on any number of groups, or is refused."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from stable_baselines3 import PPO, TD3
from tiny_agents import ENV_ID, NETWORK, OPTIONS

from prune_env import PruningEnv
from prune_env.agents import EnvFactory, UniversalPolicy, export_policy, train_agent
from prune_env.agents.policies import GroupPolicy, GroupTD3Policy
from prune_env.benchmark import make_policy
from prune_env.envs import ZOO
from prune_env.storage import DamagedFileError
from prune_env.testing import check_policy

MADE_BY = {"algorithm": "ppo"}


def exported(tmp_path, actions="log-ratio", **policy_kwargs):
    env = EnvFactory(ENV_ID, OPTIONS | {"rounds": 2}, actions)()
    model = PPO(
        GroupPolicy, env, seed=0, device="cpu", n_steps=8, batch_size=8, policy_kwargs={"hidden": 8, **policy_kwargs}
    )
    model.learn(16)
    path = export_policy(tmp_path / "mine", model, env.unwrapped, MADE_BY, actions)
    return model, env, path


@pytest.mark.parametrize("actions", ["ratio", "log-ratio"])
def test_it_acts_as_the_agent_did(tmp_path, actions):
    model, env, path = exported(tmp_path, actions)
    observation, _ = env.reset(seed=0)
    expected, _ = model.predict(observation, deterministic=True)
    policy = make_policy(str(path), env.unwrapped)
    wanted = env.action(expected)
    np.testing.assert_allclose(policy.predict(observation)[0], wanted, atol=1e-6)
    np.testing.assert_allclose(policy.predict(np.stack([observation] * 2))[0], [wanted] * 2, atol=1e-6)
    assert policy.learned and not policy.privileged and policy.made_by == MADE_BY
    check_policy(str(path), env.unwrapped)


def test_a_deterministic_actor_is_exported_too(tmp_path):
    env = EnvFactory(ENV_ID, OPTIONS)()
    model = TD3(GroupTD3Policy, env, seed=0, device="cpu", buffer_size=10, policy_kwargs={"hidden": 8})
    path = export_policy(tmp_path / "td3", model, env.unwrapped, MADE_BY)
    observation, _ = env.reset(seed=0)
    expected, _ = model.predict(observation, deterministic=True)
    np.testing.assert_allclose(
        make_policy(str(path), env.unwrapped).predict(observation)[0], env.action(expected), 1e-4
    )


def test_it_prunes_networks_of_another_number_of_groups(tmp_path):
    *_, path = exported(tmp_path)
    deeper = PruningEnv(
        target="autoencoder", hidden_layers=3, dense_steps=100, learning_rate=0.01, budget=0.5, rounds=1
    )
    policy = make_policy(str(path), deeper)
    observation, _ = deeper.reset(seed=0)
    ratios, _ = policy.predict(observation)
    assert ratios.shape == deeper.action_space.shape == (7,)
    *_, info = deeper.step(ratios)
    assert info["reward_terms"]["sparsity"] >= 0.5


def test_other_columns_are_refused(tmp_path):
    *_, path = exported(tmp_path)
    env = PruningEnv(target="autoencoder", observation="importance", **NETWORK | {"dense_steps": 200})
    with pytest.raises(ValueError, match=r"mine\.safetensors reads the columns .*; this environment has \['gradient'"):
        UniversalPolicy(path, env)


def test_what_fits_one_kind_of_network_only_is_not_exported(tmp_path):
    with pytest.raises(ValueError, match="an embedding of each group's position"):
        exported(tmp_path, position_embedding=True)
    env = EnvFactory(ENV_ID, OPTIONS)()
    plain = PPO("MlpPolicy", env, device="cpu", n_steps=8, batch_size=8)
    with pytest.raises(ValueError, match="ActorCriticPolicy is no policy over groups"):
        export_policy(tmp_path / "plain", plain, env.unwrapped, MADE_BY)


def test_every_damage_is_refused(tmp_path):
    _, env, path = exported(tmp_path)
    content, observation = path.read_bytes(), env.reset(seed=0)[0]
    expected = UniversalPolicy(path, env.unwrapped).predict(observation)[0]
    random, accepted = np.random.default_rng(0), 0
    for trial in range(200):
        damaged = bytearray(content)
        if trial % 4 == 0:
            damaged = damaged[: int(random.integers(len(damaged)))]
        else:
            for place in random.integers(len(damaged), size=trial % 3 + 1):
                damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(bytes(damaged))
        try:
            policy = UniversalPolicy(path, env.unwrapped)
        except DamagedFileError as error:
            assert "mine.safetensors is damaged" in str(error) and "export the policy again" in str(error)
        else:
            accepted += 1
            np.testing.assert_array_equal(policy.predict(observation)[0], expected)
    assert accepted <= 4  # changes of white space in the header say the same


def test_files_that_are_something_else_are_named(tmp_path):
    _, env, path = exported(tmp_path)
    with pytest.raises(ValueError, match="there is no policy"):
        UniversalPolicy(tmp_path / "none.safetensors", env.unwrapped)
    tensors = load_file(path)
    save_file(tensors, path)
    with pytest.raises(DamagedFileError, match="it is no policy of prune_env"):
        UniversalPolicy(path, env.unwrapped)
    save_file(tensors, path, metadata={"prune_env": json.dumps({"hidden": 8})})
    with pytest.raises(DamagedFileError, match="it carries no checksum"):
        UniversalPolicy(path, env.unwrapped)


def test_trained_on_the_zoo_it_prunes_a_kind_that_was_left_out(tmp_path):
    options = {"kinds": ["simple", "recursive", "multipath"], "leave_out": ["multipath"], "pool": 2, "dense_steps": 60}
    options |= {"steps_per_round": 1}
    small = {"policy": "GroupPolicy", "n_steps": 8, "batch_size": 8, "n_epochs": 1, "normalize": False}
    train_agent("ppo", ZOO, tmp_path, env_options=options, timesteps=16, n_envs=1, hyperparams=small, progress=False)
    other = PruningEnv(target="multipath", dense_steps=60, rounds=1, budget=0.4, steps_per_round=1)
    policy = make_policy(str(tmp_path / "policy.safetensors"), other)
    observation, _ = other.reset(seed=0)
    ratios, _ = policy.predict(observation)
    *_, info = other.step(ratios)
    assert info["reward_terms"]["sparsity"] >= 0.4 and policy.made_by["env"] == ZOO
