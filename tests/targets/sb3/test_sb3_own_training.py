"""Fine-tuning by the agent's own algorithm."""

import pytest
import torch
from sb3_agents import cut_state, target

from prune_env.dense.train_state import TrainState
from prune_env.isolation import own_random_state
from prune_env.targets.sb3.saving import agent_of


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("prune_env.targets.sb3.own_training.WARM_UP", 40)


@pytest.mark.parametrize("name", ["sac", "td3", "dqn", "tqc"])
def test_sb3_trains_the_networks_that_are_cut_and_importance_sees_its_gradients(name):
    made = target(name, fine_tuning="training")
    state = cut_state(name)
    optimizers = made.optimizers(state.model)
    states = next(made.batches(torch.Generator().manual_seed(0)))
    before = {key: p.detach().clone() for key, p in state.model.named_parameters()}
    seen = []
    for _ in range(4):
        loss = made.training_step(state.model, optimizers, states, lambda o: seen.append(optimizers.index(o)))
        assert torch.isfinite(loss)
    assert set(seen) == set(range(len(optimizers)))
    changed = {key.split(".")[0] for key, p in state.model.named_parameters() if not torch.equal(p, before[key])}
    assert changed == ({"q_net"} if name == "dqn" else {"actor", "critic"})
    agent_of(made.source, state.model)  # still what SB3 builds


def test_the_same_seeds_give_the_same_networks():
    made, results = target("sac", fine_tuning="training"), []
    for _ in range(2):
        state = cut_state("sac")
        states = next(made.batches(torch.Generator().manual_seed(0)))
        with own_random_state(3):
            for _ in range(3):
                made.training_step(state.model, made.optimizers(state.model), states, lambda o: None)
        results.append([p.detach().clone() for p in state.model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_the_tracker_measures_in_it():
    made = target("sac", fine_tuning="training")
    state = TrainState.fresh(made, torch.Generator().manual_seed(0))
    states = next(made.batches(torch.Generator().manual_seed(0)))
    made.training_step(state.model, state.optimizers, states, state.tracker.after_backward)
    state.tracker.after_step()
    assert (state.tracker.groups(("gradient",)) > 0).all()


def test_on_policy_agents_have_no_replay():
    with pytest.raises(ValueError, match="PPO learns from what it does itself and has no replay"):
        target("ppo", fine_tuning="training")
