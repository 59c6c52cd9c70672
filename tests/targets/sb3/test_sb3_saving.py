"""The pruned agent is an agent of SB3 again: it loads, acts, learns, and can be pruned once more."""

import io

import numpy as np
import pytest
import torch
from sb3_agents import AGENTS, agent, algorithm_class, cut, cut_state, make, observations, target

from prune_env.dense.train_state import TrainState
from prune_env.targets import SB3Agent
from prune_env.targets.sb3.saving import agent_of, zip_of

WITH_CRITICS = ("ppo", "sac-gsde", "ddpg", "tqc", "td3-cnn-shared")


@pytest.mark.parametrize("name", AGENTS)
def test_sb3_loads_what_is_written_acts_alike_and_goes_on_learning(name, tmp_path):
    state = cut_state(name, name in WITH_CRITICS)
    made = state.target
    path = tmp_path / "agent.zip"
    path.write_bytes(zip_of(made.source, state.model))
    loaded = algorithm_class(name).load(path, env=make(name), device="cpu")
    seen = observations(made)
    ours = made.actor(state.model)(made.simulator.read(seen)).numpy()
    assert np.allclose(ours, loaded.predict(seen, deterministic=True)[0], atol=1e-6)
    before = {key: tensor.clone() for key, tensor in loaded.policy.state_dict().items()}
    dense = agent(name).policy.state_dict()
    assert sum(t.numel() for t in before.values()) < sum(t.numel() for t in dense.values())
    steps = loaded.num_timesteps
    loaded.learn(32, reset_num_timesteps=False)
    assert loaded.num_timesteps >= steps + 32 and steps == agent(name).num_timesteps
    assert any(not torch.equal(before[key], tensor) for key, tensor in loaded.policy.state_dict().items())


@pytest.mark.parametrize("name", ["tqc", "dqn", "td3-cnn-shared"])
def test_target_networks_and_optimizers_lose_the_same_channels(name):
    state = cut_state(name, name in WITH_CRITICS)
    made = state.target
    pruned = agent_of(made.source, state.model)
    ours, dense = pruned.policy.state_dict(), agent(name).policy.state_dict()
    online = "q_net" if name == "dqn" else "critic"
    stem = f"{online}.q_net." if name == "dqn" else f"{online}.qf1."
    grouping, present = state.surgeon.grouping, state.surgeon.present
    first = next(i for i, g in enumerate(grouping) if g.name.startswith(("critic.qf0.0", "q_net.0")))
    offset = int(grouping.widths[:first].sum())
    left = present[state.surgeon.group_of == first] - offset
    for network in (stem, stem.replace(online, f"{online}_target", 1)):
        assert torch.equal(ours[f"{network}0.bias"], dense[f"{network}0.bias"][left])
    optimizer = pruned.policy.optimizer if name == "dqn" else pruned.critic.optimizer
    theirs = agent(name).policy.optimizer if name == "dqn" else agent(name).critic.optimizer
    parameters = list((pruned.policy.q_net if name == "dqn" else pruned.critic).parameters())
    dense_parameters = list((agent(name).policy.q_net if name == "dqn" else agent(name).critic).parameters())
    for one, other in zip(parameters, dense_parameters, strict=True):
        if other not in theirs.state:
            assert one not in optimizer.state
            continue
        assert optimizer.state[one]["exp_avg"].shape == one.shape
        if one.shape == other.shape:
            assert torch.equal(optimizer.state[one]["exp_avg"], theirs.state[other]["exp_avg"])


def test_an_agent_can_be_pruned_again():
    state = cut_state("ppo-cnn")
    once = agent_of(state.target.source, state.model)
    again = TrainState.fresh(SB3Agent(once, state.target.env, episodes=3), torch.Generator().manual_seed(0))
    cut(again, seed=1)
    twice = agent_of(again.target.source, again.model)
    channels = [model.policy_kwargs["features_extractor_kwargs"]["channels"] for model in (once, twice)]
    assert all(second < first for first, second in zip(*channels, strict=True))


def test_the_dense_agent_comes_back_as_it_was():
    made = target("sac")
    back = agent_of(made.source, made.build())
    theirs = agent("sac").policy.state_dict()
    assert all(torch.equal(theirs[key], tensor) for key, tensor in back.policy.state_dict().items())
    assert torch.equal(back.log_ent_coef, agent("sac").log_ent_coef)
    content = io.BytesIO(zip_of(made.source, made.build()))
    assert algorithm_class("sac").load(content, device="cpu").buffer_size == agent("sac").buffer_size
