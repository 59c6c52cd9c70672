"""Agents that a user trained with SB3 alone: they compete by the path of SB3's zip, or are refused with the reason."""

import json
from zipfile import ZipFile

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from tiny_agents import ENV_ID, OPTIONS

from prune_env.agents import EnvFactory, load_agent, save_agent
from prune_env.agents.algorithms import algorithm_of, algorithm_of_data
from prune_env.agents.saved import find_description, read_description
from prune_env.benchmark import make_policy
from prune_env.cli.bench import env_of
from prune_env.testing import check_policy

SHORT = {
    "ppo": (PPO, {"n_steps": 8, "batch_size": 8}),
    "a2c": (A2C, {"n_steps": 4}),
    "sac": (SAC, {"buffer_size": 10}),
    "td3": (TD3, {"buffer_size": 10}),
    "ddpg": (DDPG, {"buffer_size": 10}),
}


class Spaces(gym.Env):
    """Nothing but spaces: 3 groups and 14 columns by default."""

    def __init__(self, low=-1.0, high=1.0, groups=3, numbers=42):
        self.observation_space = Box(-20, 20, (numbers,), dtype=np.float32)
        self.action_space = Box(low, high, (groups,), dtype=np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, True, False, {}


def saved(tmp_path, made, algorithm=PPO, learn=0, **arguments):
    model = algorithm("MlpPolicy", made, seed=0, device="cpu", **(arguments or SHORT["ppo"][1]))
    if learn:
        model.learn(learn)
    model.save(tmp_path / "mine.zip")
    return model, tmp_path / "mine.zip"


@pytest.mark.parametrize("name", SHORT)
def test_an_agent_of_every_algorithm_competes_by_its_path(name, tmp_path, env):
    algorithm, arguments = SHORT[name]
    model, path = saved(tmp_path, EnvFactory(ENV_ID, OPTIONS | {"rounds": 2})(), algorithm, learn=7, **arguments)
    check_policy(str(path), env)
    agent = make_policy(str(path), env)
    observation, _ = env.reset(seed=0)
    expected = (model.predict(observation, deterministic=True)[0] + 1) / 2 * env.max_ratio
    np.testing.assert_array_equal(agent.predict(observation)[0], expected)
    assert agent.learned and not agent.privileged and agent.training is None
    assert find_description(path) is None and env_of(str(path), "default") == "default"
    assert algorithm_of(model) == name
    with ZipFile(path) as archive:
        told = algorithm_of_data(json.loads(archive.read("data")))
    assert told == ("td3" if name == "ddpg" else name)


@pytest.mark.parametrize(
    ("low", "high", "answer", "ratio"),
    [
        (-1.0, 1.0, 0.5, 0.7125),  # RescaleAction(env, -1, 1)
        (0.0, 1.0, 0.5, 0.475),  # RescaleAction(env, 0, 1)
        (-2.0, 2.0, -1.0, 0.2375),
        (0.0, 0.95, 0.5, 0.5),  # the environment itself: ratios
        (0.0, 0.5, 0.5, 0.5),  # the same with a smaller max_ratio
        (0.0, 0.5, 0.7, 0.5),
    ],
)
def test_its_action_space_is_matched_to_ratios(tmp_path, env, low, high, answer, ratio):
    model, _ = saved(tmp_path, Spaces(low, high))
    with torch.no_grad():
        model.policy.action_net.weight.zero_()
        model.policy.action_net.bias.fill_(answer)
    model.save(tmp_path / "constant.zip")
    observation, _ = env.reset(seed=0)
    ratios, _ = load_agent(tmp_path / "constant.zip", env).predict(observation)
    np.testing.assert_allclose(ratios, np.full(3, ratio), rtol=1e-6)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"groups": 4}, r"mine\.zip acts in Box\(-1.0, 1.0, \(4,\).* needs a finite Box of shape \(3,\)"),
        ({"high": np.inf}, r"mine\.zip acts in Box\(-1.0, inf.* needs a finite Box"),
        ({"low": 0.0, "high": 0.99}, "acts in ratios up to 0.99; this environment takes at most 0.95"),
        ({"numbers": 43}, r"reads observations of shape \(43,\); this environment gives \(42,\), 14 columns of 3"),
    ],
)
def test_spaces_that_do_not_fit_are_refused(tmp_path, env, made, message):
    low, high = made.get("low", -1.0), made.get("high", 1.0)
    model, path = saved(tmp_path, Spaces(low, min(high, 1.0), made.get("groups", 3), made.get("numbers", 42)))
    if high == np.inf:
        model.action_space = Box(low, high, (3,), dtype=np.float32)
        model.save(path)
    with pytest.raises(ValueError, match=message):
        load_agent(path, env)


@pytest.mark.parametrize("name", SHORT)
def test_one_whose_observations_were_normalised_is_refused_unless_it_carries_that(name, tmp_path, env):
    algorithm, arguments = SHORT[name]
    venv = VecNormalize(DummyVecEnv([EnvFactory(ENV_ID, OPTIONS)]))
    model, path = saved(tmp_path, venv, algorithm, learn=8, **arguments)
    with pytest.raises(ValueError, match=r"trained behind VecNormalize.*save_agent\(folder, model\)"):
        load_agent(path, env)
    check_policy(str(save_agent(tmp_path / "carried", model)), env)


def test_normalised_rewards_alone_do_no_harm(tmp_path, env):
    venv = VecNormalize(DummyVecEnv([EnvFactory(ENV_ID, OPTIONS)]), norm_obs=False)
    model, path = saved(tmp_path, venv, SAC, learn=8, buffer_size=10)
    check_policy(str(path), env)
    check_policy(str(save_agent(tmp_path / "carried", model)), env)


def test_save_agent_finds_environment_and_training_itself(tmp_path, env):
    model, _ = saved(tmp_path, EnvFactory(ENV_ID, OPTIONS)())
    path = save_agent(tmp_path / "mine", model)
    made_by = read_description(path)["made_by"]
    assert made_by == {"algorithm": "ppo", "timesteps": 0, "seed": 0, "env": ENV_ID, "env_options": OPTIONS}
    assert load_agent(path, env).training.env == ENV_ID and env_of(str(path), "default") == ENV_ID
    with pytest.raises(ValueError, match="no PruningEnv: give the one"):
        save_agent(tmp_path, PPO("MlpPolicy", Spaces(), device="cpu"))
    assert save_agent(tmp_path / "given", PPO("MlpPolicy", Spaces(), device="cpu"), env).is_file()
    with pytest.raises(ValueError, match="no PruningEnv: give the one"):
        save_agent(tmp_path, PPO.load(path, device="cpu"))


def test_an_algorithm_that_cannot_prune_is_named(tmp_path, env):
    discrete = Spaces()
    discrete.action_space = gym.spaces.Discrete(3)
    DQN("MlpPolicy", discrete, buffer_size=10, device="cpu").save(tmp_path / "dqn.zip")
    with pytest.raises(ValueError, match=r"dqn.zip cannot be loaded .* from no algorithm of ppo, a2c"):
        load_agent(tmp_path / "dqn.zip", env)
    with pytest.raises(ValueError, match="agents of DQN cannot be loaded"):
        algorithm_of(DQN("MlpPolicy", discrete, buffer_size=10, device="cpu"))


def test_a_truncated_zip_is_damaged(tmp_path, env):
    _, path = saved(tmp_path, EnvFactory(ENV_ID, OPTIONS)())
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ValueError, match=r"mine\.zip is damaged"):
        load_agent(path, env)


def test_objects_that_cannot_be_unpickled_are_refused(tmp_path, env):
    _, path = saved(tmp_path, EnvFactory(ENV_ID, OPTIONS)())
    with ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    data = json.loads(members["data"])
    data["policy_class"][":serialized:"] = data["policy_class"][":serialized:"][:-8]
    with ZipFile(path, "w") as archive:
        for name, content in (members | {"data": json.dumps(data).encode()}).items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match=r"mine\.zip cannot be loaded by Stable-Baselines3"):
        load_agent(path, env)
