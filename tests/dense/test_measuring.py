"""Importance of networks that come trained: measured by passes, with nothing else changed."""

import torch
from trained_target import Trained, trained_model

from prune_env.dense import CheckpointSpec, Network, identify, is_cached, load_checkpoint
from prune_env.targets import register_target

register_target("trained-already", Trained)


def test_passes_measure_importance_and_change_nothing_else():
    network = Network.of(Trained())
    state, before = network.train_state.model.state_dict(), trained_model().state_dict()
    assert state.keys() == before.keys() and all(torch.equal(state[name], before[name]) for name in state)
    tracker = network.train_state.tracker
    assert tracker.steps == 5 and bool((tracker.groups() > 0).all())
    assert not any(optimizer.state for optimizer in network.train_state.optimizers)
    assert all(parameter.grad is None for parameter in network.train_state.model.parameters())


def test_importance_is_that_of_the_gradients_in_evaluation_mode():
    network = Network.of(Trained(), label="by hand")
    model, batches = trained_model().eval(), Trained().batches(torch.Generator().manual_seed(0))
    smoothed = None
    for _ in range(5):
        model.zero_grad()
        Trained().loss(model, next(batches)).backward()
        layer = model.body[0]
        value = torch.cat([layer.weight.grad.abs(), layer.bias.grad.abs().unsqueeze(1)], 1).mean(1)
        smoothed = value if smoothed is None else 0.9 * smoothed + 0.1 * value
    torch.testing.assert_close(network.train_state.tracker.channel("gradient")[:12], smoothed)
    assert network.label == "by hand"


def test_a_network_that_comes_trained_is_filed_under_its_tensors():
    one, other = CheckpointSpec("trained-already"), CheckpointSpec("trained-already", {"weights": 1})
    assert identify(one) != identify(other)
    load_checkpoint(one, progress=False)
    assert is_cached(one) and not is_cached(other)
    loaded = load_checkpoint(one, progress=False)
    assert torch.equal(loaded.model.body[0].weight, trained_model().body[0].weight) and loaded.tracker.steps == 5
