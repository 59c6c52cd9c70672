"""Zips of agents: recognised without unpickling, unpickled only if they are trusted."""

import numpy as np
import pytest
import sb3_contrib
from sb3_agents import AGENTS, agent, make

from prune_env.targets import SB3Agent
from prune_env.targets.sb3.source import AgentSource


@pytest.mark.parametrize("name", AGENTS)
def test_the_algorithm_is_recognised(name):
    assert AgentSource.of(agent(name), trust=False).title == AGENTS[name][0]


def test_a_file_is_unpickled_only_if_it_is_trusted(tmp_path):
    path = tmp_path / "agent.zip"
    agent("ppo").save(path)
    with pytest.raises(ValueError, match=r"agent.zip unpickles Python objects.* trust=True \(--trust\)"):
        SB3Agent(str(path), "CartPole-v1")
    trusted = SB3Agent(str(path), "CartPole-v1", trust=True)
    assert trusted.settings() != SB3Agent(agent("ppo-box"), "Pendulum-v1").settings()
    copy = tmp_path / "renamed.zip"
    copy.write_bytes(path.read_bytes())
    assert trusted.settings() == SB3Agent(str(copy), "CartPole-v1", trust=True).settings()  # known by its content


def test_what_is_no_agent_is_named(tmp_path):
    path = tmp_path / "agent.zip"
    with pytest.raises(ValueError, match=r"there is no agent .*agent.zip"):
        SB3Agent(path, "CartPole-v1", trust=True)
    path.write_bytes(b"PK no zip")
    with pytest.raises(ValueError, match=r"agent.zip is no agent of Stable-Baselines3"):
        SB3Agent(path, "CartPole-v1", trust=True)
    other = sb3_contrib.QRDQN("MlpPolicy", make("dqn"), buffer_size=10)
    with pytest.raises(ValueError, match=r"none of the algorithms whose agents can be pruned: TQC, .*DDPG"):
        SB3Agent(other, "CartPole-v1")


def test_loading_leaves_the_random_states_alone():
    source = AgentSource.of(agent("sac"), trust=False)  # it has a seed, which SB3 sets
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    source.load()
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
