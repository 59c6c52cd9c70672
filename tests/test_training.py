"""The training loop and what attaches to it."""

import math

import pytest
import torch

from prune_env.dense import CheckpointSpec
from prune_env.dense.checkpoints import fresh_train_state
from prune_env.training import train

SPEC = CheckpointSpec("autoencoder", {"latent_dim": 4})


class Listener:
    def __init__(self):
        self.events = []

    def after_backward(self, optimizer):
        self.events.append("backward")

    def after_step(self):
        self.events.append("step")

    def after_surgery(self, keep):
        self.events.append("surgery")


def batches(train_state, seed=0):
    return train_state.target.batches(torch.Generator().manual_seed(seed))


def test_loop_equals_the_obvious_one():
    train_state, other = fresh_train_state(SPEC), fresh_train_state(SPEC)
    mean = train(train_state.target, train_state.model, train_state.optimizers, batches(train_state), 5)
    other.model.train()
    losses, source = [], batches(other)
    for _ in range(5):
        batch = next(source)
        other.optimizers[0].zero_grad()
        loss = torch.nn.functional.mse_loss(other.model(batch), batch)
        loss.backward()
        other.optimizers[0].step()
        losses.append(loss.item())
    assert mean == pytest.approx(sum(losses) / 5, rel=1e-6)
    for p, q in zip(train_state.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(p, q)


def test_observers_are_told_in_order():
    train_state, first, second = fresh_train_state(SPEC), Listener(), Listener()
    seen = []
    train(
        train_state.target,
        train_state.model,
        train_state.optimizers,
        batches(train_state),
        2,
        [first, second],
        seen.append,
    )
    assert first.events == second.events == ["backward", "step"] * 2
    assert seen == [1, 2]


def test_measuring_does_not_change_training():
    plain, measured = fresh_train_state(SPEC), fresh_train_state(SPEC)
    train(plain.target, plain.model, plain.optimizers, batches(plain), 5)
    train(measured.target, measured.model, measured.optimizers, batches(measured), 5, [measured.tracker])
    assert measured.tracker.steps == 5
    for p, q in zip(plain.model.parameters(), measured.model.parameters(), strict=True):
        assert torch.equal(p, q)


def test_divergence_is_told():
    train_state = fresh_train_state(SPEC)
    train_state.optimizers[0].param_groups[0]["lr"] = float("inf")
    assert math.isnan(train(train_state.target, train_state.model, train_state.optimizers, batches(train_state), 3))


def test_no_steps_no_change():
    train_state = fresh_train_state(SPEC)
    before = {k: v.clone() for k, v in train_state.model.state_dict().items()}
    assert train(train_state.target, train_state.model, train_state.optimizers, batches(train_state), 0) == 0.0
    assert all(torch.equal(v, before[k]) for k, v in train_state.model.state_dict().items())


def test_a_network_that_was_evaluated_is_trained_in_training_mode():
    evaluated, other = fresh_train_state(SPEC), fresh_train_state(SPEC)
    evaluated.model.eval()
    for train_state in (evaluated, other):
        train(train_state.target, train_state.model, train_state.optimizers, batches(train_state), 3)
    assert all(module.training for module in evaluated.model.modules())
    for mine, theirs in zip(evaluated.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)  # running statistics, too
