"""The networks of every kind of agent: they act as SB3 does, and what SB3 describes together is cut together."""

import numpy as np
import pytest
import torch
from sb3_agents import AGENTS, agent, observations, target

from prune_env.groups import discover


@pytest.mark.parametrize("name", AGENTS)
def test_actions_are_those_of_predict(name):
    made = target(name)
    seen = observations(made)
    ours = made.actor(made.build())(made.simulator.read(seen)).numpy()
    wanted = agent(name).predict(seen, deterministic=True)[0]
    assert ours.shape == wanted.shape and np.allclose(ours, wanted, atol=1e-6)


@pytest.mark.parametrize("name", AGENTS)
def test_values_are_those_of_the_policy(name):
    made, model = target(name), agent(name)
    net = made.build()
    seen = made.simulator.read(observations(made))
    action = torch.as_tensor(model.predict(seen.numpy(), deterministic=True)[0])
    if hasattr(model.policy, "predict_values"):
        wanted = [model.policy.predict_values(seen)]
    elif hasattr(model.policy, "q_net"):
        wanted = [model.policy.q_net(seen)]
    else:
        scaled = torch.as_tensor(model.policy.scale_action(action.numpy()))
        critics = model.policy.critic(seen, scaled)
        wanted = list(critics.unbind(1)) if isinstance(critics, torch.Tensor) else list(critics)
    ours = net.values(net.preprocess(seen), net.critic_action(net.preprocess(seen)))
    for one, other in zip(ours, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


GROUPS = {
    "ppo": {"actor.policy_net.0": 16, "actor.policy_net.2": 12},
    "sac": {"actor.latent_pi.0": 16, "actor.latent_pi.2": 12},
    "dqn": {"q_net.0": 16, "q_net.2": 12},
    "ppo-cnn": {
        f"features_extractor.{x}": n for x, n in (("cnn.0", 32), ("cnn.2", 64), ("cnn.4", 64), ("linear.0", 24))
    },
}


@pytest.mark.parametrize("name", GROUPS)
def test_groups(name):
    made = target(name)
    grouping = discover(made.build(), made.trace, made.components)
    assert {group.name: group.channels for group in grouping} == GROUPS[name]


def test_critics_of_one_description_are_one_group():
    made = target("sac", critics=True)
    grouping = discover(made.build(), made.trace, made.components)
    (first,) = [group for group in grouping if group.name == "critic.qf0.0"]
    assert {"critic.qf0.0", "critic.qf1.0", "critic.qf0.2", "critic.qf1.2"} <= set(first.members)
    assert made.components == ("actor", "critic")


def test_separate_extractors_of_one_description_are_one_group():
    made = target("sac-cnn")
    grouping = discover(made.build(), made.trace, made.components)
    assert set(grouping["features_extractor.cnn.0"].components) == {"features_extractor", "critic_features_extractor"}
    assert "critic.qf0.0" in grouping["features_extractor.linear.0"].members  # it reads the extractor, and stays whole
