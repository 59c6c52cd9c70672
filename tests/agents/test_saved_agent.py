"""A saved agent: it answers as the model did, and files that are missing, damaged or of another kind are refused."""

import json
import shutil
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from tiny_agents import ENV_ID, NETWORK, OPTIONS

from prune_env import PruningEnv
from prune_env.agents import EnvFactory, SavedAgent, load_agent, save_agent
from prune_env.agents.policies import GroupPolicy
from prune_env.agents.saved import read_description, restore_normaliser
from prune_env.benchmark import make_policy
from prune_env.storage import sealed
from prune_env.testing import check_policy

MADE_BY = {"algorithm": "ppo", "timesteps": 0}


@pytest.fixture(scope="module")
def vectorised():
    venv = VecNormalize(DummyVecEnv([EnvFactory(ENV_ID, OPTIONS)]), norm_reward=False)
    venv.seed(0)
    venv.reset()
    for _ in range(20):  # statistics to normalise with
        venv.step(venv.action_space.sample()[None])
    return venv


@pytest.fixture(scope="module")
def observations(env):
    env.reset(seed=3)
    return np.stack([env.reset()[0] for _ in range(4)])


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of the trained agent that a test may damage."""
    return Path(shutil.copy(trained / "model.zip", tmp_path))


def describe(path, text):
    """Put another description into a saved agent."""
    with ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with ZipFile(path, "w") as archive:
        for name, content in {**members, "prune_env.json": text}.items():
            if content is not None:
                archive.writestr(name, content)


def group_model(vectorised, observations):
    model = PPO(
        GroupPolicy, vectorised.venv, n_steps=8, batch_size=8, seed=0, device="cpu", policy_kwargs={"hidden": 8}
    )
    model.policy.calibrate(torch.as_tensor(observations))
    with torch.no_grad():
        model.policy.action_net.linear.weight.mul_(100)  # answers that differ from group to group
    return model


# ---------------------------------------------------------------------- round trip
def test_a_group_policy_comes_back_bit_for_bit(tmp_path, env, vectorised, observations):
    model = group_model(vectorised, observations)
    agent = load_agent(save_agent(tmp_path, model, env, None, MADE_BY), env)
    expected = (model.predict(observations, deterministic=True)[0] + 1) / 2 * env.max_ratio
    ratios, state = agent.predict(observations)
    np.testing.assert_array_equal(ratios, expected)
    assert state is None and ratios.std() > 0.01
    np.testing.assert_allclose(agent.predict(observations[1])[0], ratios[1], rtol=1e-6)
    assert agent.learned and not agent.privileged


def test_statistics_of_the_observations_are_saved_and_applied(tmp_path, env, vectorised, observations):
    model = TD3("MlpPolicy", vectorised, seed=0, device="cpu", buffer_size=10)
    path = save_agent(tmp_path, model, env, vectorised, {"algorithm": "td3"})
    agent = SavedAgent(path, env)
    normalised = vectorised.normalize_obs(observations)
    assert np.abs(normalised - observations).max() > 1
    expected = (model.predict(normalised, deterministic=True)[0] + 1) / 2 * env.max_ratio
    np.testing.assert_array_equal(agent.predict(observations)[0], expected)


def test_statistics_go_on_from_where_they_were_saved(tmp_path, env, vectorised, observations):
    path = save_agent(tmp_path, TD3("MlpPolicy", vectorised, buffer_size=10), env, vectorised, {"algorithm": "td3"})
    other = VecNormalize(vectorised.venv, norm_reward=False)
    assert not np.array_equal(other.normalize_obs(observations), vectorised.normalize_obs(observations))
    restore_normaliser(other, read_description(path))
    np.testing.assert_array_equal(other.normalize_obs(observations), vectorised.normalize_obs(observations))
    assert other.obs_rms.count == vectorised.obs_rms.count


def test_actions_outside_the_agents_range_are_clipped(tmp_path, env, vectorised, observations):
    model = group_model(vectorised, observations)
    with torch.no_grad():
        model.policy.action_net.linear.bias.fill_(50.0)
    agent = load_agent(save_agent(tmp_path, model, env, None, MADE_BY), env)
    np.testing.assert_allclose(agent.predict(observations)[0], np.full((4, 3), env.max_ratio), rtol=1e-6)


def test_saving_again_replaces_and_leaves_nothing_else(tmp_path, env, vectorised, observations):
    model = group_model(vectorised, observations)
    for steps in (1, 2):
        save_agent(tmp_path, model, env, None, {**MADE_BY, "timesteps": steps})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.zip"]
    assert read_description(tmp_path / "model.zip")["made_by"]["timesteps"] == 2


# ---------------------------------------------------------------------- as a policy
def test_a_trained_agent_competes_by_its_path(trained, env):
    check_policy(str(trained / "model.zip"), env)
    assert make_policy(str(trained / "model.zip"), env).learned


def test_a_path_without_a_file_is_named(env):
    with pytest.raises(ValueError, match=r"no file 'nowhere/model.zip'"):
        make_policy("nowhere/model.zip", env)


# ---------------------------------------------------------------------- what does not fit
def test_a_file_that_is_missing_is_named(copied, env):
    copied.unlink()
    with pytest.raises(ValueError, match=f"there is no saved agent {copied}"):
        load_agent(copied, env)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_damaged_agent_is_refused_before_it_is_unpickled(copied, env, monkeypatch, share):
    content = bytearray(copied.read_bytes())
    content[int(share * len(content))] ^= 0xFF
    copied.write_bytes(content)
    monkeypatch.setattr(PPO, "load", lambda *args, **kwargs: pytest.fail("it was loaded"))
    with pytest.raises(ValueError, match=r"model\.zip is damaged .* train the agent again"):
        load_agent(copied, env)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_agent_is_refused(copied, env, share):
    content = copied.read_bytes()
    copied.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="is damaged"):
        load_agent(copied, env)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is damaged"),
        ('{"algorithm": "pp', "is damaged"),
        ("[]", "is damaged .it carries no checksum"),
        ("{}", "is damaged .it carries no checksum"),
        (json.dumps(sealed({})), "lacks algorithm, columns, groups, made_by, normalisation, sha256 in its"),
    ],
)
def test_a_description_that_says_nothing_is_refused(copied, env, text, message):
    describe(copied, text)
    with pytest.raises(ValueError, match=message):
        load_agent(copied, env)


def test_an_agent_of_other_columns_is_refused(trained):
    other = PruningEnv("autoencoder", observation="importance", rounds=1, budget=0.5, steps_per_round=2, **NETWORK)
    with pytest.raises(ValueError, match=r"trained on 3 groups with columns .*'weight_mean'.* this environment has 3"):
        load_agent(trained / "model.zip", other)


def test_an_agent_of_other_groups_is_refused(trained):
    options = {**NETWORK, "hidden_layers": 2, "dense_steps": 100}
    other = PruningEnv("autoencoder", rounds=1, budget=0.5, steps_per_round=2, **options)
    with pytest.raises(ValueError, match=r"trained on 3 groups .* this environment has 5"):
        load_agent(trained / "model.zip", other)


def test_an_unknown_algorithm_in_the_description_is_named(copied, env):
    describe(copied, json.dumps(sealed({**read_description(copied), "algorithm": "reinforce"})))
    with pytest.raises(ValueError, match=r"algorithm must be 'ppo' .*, got 'reinforce'"):
        load_agent(copied, env)


@pytest.mark.parametrize(
    "change",
    [
        *({"groups": 0}, {"groups": "3"}, {"columns": "kept"}, {"columns": [1]}, {"made_by": []}, {"sha256": {}}),
        *({"normalisation": {"mean": [0.0], "variance": [1.0], "count": 1.0}}, {"normalisation": {"mean": 1}}),
    ],
)
def test_every_entry_of_the_description_is_validated(copied, env, change):
    described = read_description(copied) | change
    describe(copied, json.dumps(described))
    with pytest.raises(ValueError, match=r"model\.zip is damaged .it carries no checksum"):
        load_agent(copied, env)
    describe(copied, json.dumps(sealed(described)))
    with pytest.raises(ValueError, match=r"model\.zip is damaged .* train the agent again"):
        load_agent(copied, env)


def test_a_member_of_another_agent_is_refused(copied, env):
    with ZipFile(copied) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with ZipFile(copied, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content + b" " if name == "_stable_baselines3_version" else content)
    with pytest.raises(ValueError, match="members are not those that were saved together"):
        load_agent(copied, env)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(copied, env, monkeypatch):
    with ZipFile(copied, "a", compression=ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(30_000_000))
    monkeypatch.setattr(ZipFile, "open", lambda *_, **__: pytest.fail("it was unpacked"))
    with pytest.raises(ValueError, match=r"it would unpack to 30,.* bytes from"):
        load_agent(copied, env)


def test_loading_leaves_global_random_states_alone(trained, env):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load_agent(trained / "model.zip", env)
    assert torch.rand(1) == expected


def test_an_agent_that_acts_in_log_speeds_says_so(tmp_path, env):
    made = EnvFactory(ENV_ID, OPTIONS | {"rounds": 2}, "log-ratio")()
    model = PPO("MlpPolicy", made, seed=0, device="cpu", n_steps=8, batch_size=8)
    path = save_agent(tmp_path / "log", model)
    observation, _ = env.reset(seed=0)
    action, _ = model.predict(observation, deterministic=True)
    expected = 1 - (1 - env.max_ratio) ** np.exp(2.5 * (action.astype(float) - 1))
    np.testing.assert_allclose(make_policy(str(path), env).predict(observation)[0], expected)
    assert read_description(path)["actions"] == "log-ratio"
