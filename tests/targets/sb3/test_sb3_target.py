"""An agent in the environment, like any other target."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_agents import agent, target

import prune_env
from prune_env.dense import Network
from prune_env.targets import SB3Agent
from prune_env.targets.sb3.target import SHIPPED
from prune_env.testing import check_target


@pytest.fixture(scope="module")
def env():
    return gym.make("PruneEnv/SB3-v0", rounds=2, steps_per_round=5, episodes=4).unwrapped


def test_the_agent_that_ships_is_pruned_in_the_environment(env):
    env.reset(seed=0, options={"budget": 0.5})
    assert env.network.idle == ("critic",)  # it costs nothing in acting
    assert int(env.network.cost.dense.parameters) == 4 * 64 + 64 + 64 * 64 + 64 + 64 * 2 + 2
    env.step(np.full(2, 0.3))
    _, _, over, _, info = env.step(np.full(2, 0.3))
    assert over and abs(info["sparsities"]["parameters"] - 0.5) < 0.02 and info["reward_terms"]["retained"] > 0.5


def test_the_same_seed_is_the_same_episode(env):
    results = []
    for _ in range(2):
        observation, _ = env.reset(seed=3, options={"budget": 0.8})
        after, reward, *_ = env.step(np.full(2, 0.6))
        results.append((observation, after, reward))
    assert all(np.array_equal(one, other) for one, other in zip(*results, strict=True))


def test_importance_is_measured_though_there_is_nothing_to_learn(env):
    env.reset(seed=0)
    assert (env.network.train_state.tracker.groups(("gradient", "fisher")) > 0).all()


def test_an_agent_of_ones_own_is_an_environment(tmp_path):
    path = tmp_path / "agent.zip"
    path.write_bytes(SHIPPED.read_bytes())
    made = gym.make("PruneEnv/SB3-v0", agent=str(path), env="CartPole-v1", trust=True, episodes=2, rounds=1)
    assert made.unwrapped.group_names == ("actor.policy_net.0", "actor.policy_net.2")


def test_pools_take_one_half_of_several_agents_each(tmp_path):
    paths = [str(tmp_path / f"{i}.zip") for i in range(3)]
    agent("ppo").save(paths[0])
    made = SB3Agent(agents=paths, env="CartPole-v1", trust=True)
    assert made.variants("train") == [{"agent": paths[0]}, {"agent": paths[2]}]
    assert made.variants("held_out") == [{"agent": paths[1]}]
    assert made.settings()["agent"] == SB3Agent(paths[0], "CartPole-v1", trust=True).settings()["agent"]


def test_training_by_sb3_stays_on_the_cpu():
    with pytest.raises(ValueError, match="trains on the CPU"):
        target("sac", fine_tuning="training").to("cuda")


def test_the_contract_holds_for_an_agent_of_ones_own():
    prune_env.register_target("my-agent", lambda: SB3Agent(agent("sac"), "Pendulum-v1", episodes=2))
    assert not check_target("my-agent").problems


def test_it_is_picklable_and_cheap():
    made = pickle.loads(pickle.dumps(target("sac")))
    assert made.settings() == target("sac").settings() and made.components == ("actor",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"episodes": 0}, "episodes"),
        ({"fine_tuning": "magic"}, "fine_tuning"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        target("ppo", **options)


def test_dict_observations_are_refused():
    from stable_baselines3 import PPO

    class Pair(gym.Env):
        observation_space = gym.spaces.Dict({"a": gym.spaces.Box(-1, 1, (2,)), "b": gym.spaces.Box(-1, 1, (2,))})
        action_space = gym.spaces.Discrete(2)

    with pytest.raises(ValueError, match="agents that read one array can be pruned"):
        SB3Agent(PPO("MultiInputPolicy", Pair(), n_steps=8, batch_size=8, device="cpu"), "CartPole-v1")


def test_critics_are_kept_unless_they_are_asked_for():
    kept = Network.of(SB3Agent(None, episodes=2), seed=0)
    assert set(kept.grouping.names) == {"actor.policy_net.0", "actor.policy_net.2"}
    cut = Network.of(SB3Agent(None, critics=True, episodes=2), seed=0)
    assert len(cut.grouping) == 4 and cut.idle == ("critic",)
    assert torch.equal(torch.tensor(float(kept.cost.dense.macs)), torch.tensor(float(cut.cost.dense.macs)))
