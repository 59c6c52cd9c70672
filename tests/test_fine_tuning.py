"""Distillation, rewinding and training from scratch: their formulas, and what an environment makes of them."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

import prune_env  # noqa: F401
from prune_env.dense import CheckpointSpec, Network
from prune_env.dense.checkpoints import fresh_train_state
from prune_env.dense.early import early_tensors
from prune_env.fine_tuning import FINE_TUNINGS, Distillation, FineTuning, Rewind, Scratch, register_fine_tuning
from prune_env.fine_tuning.distillation import Teaching, at_present, distance_of
from prune_env.targets import Autoencoder, make_target
from prune_env.training import train

OPTIONS = {"latent_dim": 4, "dense_steps": 120, "learning_rate": 0.005}
SPEC = CheckpointSpec("autoencoder", OPTIONS)


@pytest.fixture(scope="module")
def loaded():
    network = Network.load(SPEC)
    _ = network.teacher
    return network


@pytest.fixture
def network(loaded):
    loaded.restore()
    yield loaded
    loaded.restore()


def halve(network):
    keep = torch.arange(len(network.train_state.surgeon.present)) % 2 == 0
    network.train_state.cut(keep)
    return keep


def next_batch(network, seed=0):
    return next(network.train_state.target.batches(torch.Generator().manual_seed(seed)))


def test_distances_by_hand():
    target = Autoencoder(latent_dim=4)
    learnt, taught = torch.tensor([[1.0, 2.0], [0.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert float(distance_of(target, {"": learnt}, {"": taught}, Distillation())) == (4 + 4) / 4
    p, q = (torch.softmax(x / 2, -1) for x in (taught, learnt))
    expected = 4 * (p * (p / q).log()).sum(1).mean()
    found = distance_of(target, {"": learnt}, {"": taught}, Distillation(temperature=2.0))
    assert torch.allclose(found, expected)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_gradients_are_those_of_the_mixed_loss(network, share):
    halve(network)
    batch, model = next_batch(network), network.train_state.model.train()
    batches, (observer,) = Distillation(share=share, balance=False).training(network, iter([batch]))
    assert next(batches) is batch
    optimizer = network.train_state.optimizers[0]
    mine = copy.deepcopy(model)
    output = mine(batch)
    loss = (1 - share) * (output - batch).square().mean() + share * (output - network.teacher(batch)).square().mean()
    expected = torch.autograd.grad(loss, list(mine.parameters()))
    optimizer.zero_grad()
    network.train_state.target.loss(model, batch).backward()
    observer.after_backward(optimizer)
    for p, gradient in zip(model.parameters(), expected, strict=True):
        assert torch.allclose(p.grad, gradient, atol=1e-6)
    assert not network.teacher.training and not any(p.requires_grad for p in network.teacher.parameters())


def test_balanced_gradients_are_equally_large(network):
    halve(network)
    batch, model = next_batch(network), network.train_state.model.train()
    optimizer = network.train_state.optimizers[0]
    found = []
    for share in (0.0, 1.0, 0.25):
        batches, (observer,) = Distillation(share=share).training(network, iter([batch]))
        next(batches)
        optimizer.zero_grad()
        network.train_state.target.loss(model, batch).backward()
        observer.after_backward(optimizer)
        found.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    task, taught, mixed = found
    assert torch.allclose(task.norm(), taught.norm(), rtol=1e-4)
    assert torch.allclose(mixed, 0.75 * task + 0.25 * taught, atol=1e-6)


def test_the_teacher_is_the_dense_network(network):
    dense = {name: tensor.clone() for name, tensor in network.train_state.model.state_dict().items()}
    halve(network)
    for name, tensor in network.teacher.state_dict().items():
        assert torch.equal(tensor, dense[name])


def test_layers_are_compared_at_the_channels_that_stay():
    """Of TD-MPC: the latents of the pruned controller against the same ones of the dense one."""
    target = make_target("tdmpc", latent_dim=6, width=16, encoder_width=16)
    state = fresh_train_state(CheckpointSpec("tdmpc"), target)
    teacher = copy.deepcopy(state.model)
    batches = target.batches(torch.Generator().manual_seed(0))
    replay = next(batches)
    target.collect(state.model, replay)
    sample = target.sample(replay)
    latent = state.surgeon.grouping.names.index("encoder.2")
    keep = torch.ones(len(state.surgeon.present), dtype=torch.bool)
    mine = (state.surgeon.group_of == latent).nonzero()[:, 0]
    keep[mine[[1, 4]]] = False
    state.cut(keep)
    with torch.no_grad():
        taught, learnt = target.outputs(teacher, sample), target.outputs(state.model, sample)
        compared = at_present(taught, learnt, state.surgeon)
    assert set(compared) == {"encoder.2", "reward", "q1", "q2", "pi"}
    assert torch.equal(compared["encoder.2"], taught["encoder.2"][..., [0, 2, 3, 5]])
    assert (
        learnt["encoder.2"].shape
        == compared["encoder.2"].shape
        == (target.recipe.horizon + 1, target.recipe.batch_size, 4)
    )
    assert torch.allclose(learnt["encoder.2"][0], compared["encoder.2"][0], atol=1e-5)  # the encoder itself is whole


def test_outputs_without_a_layer_that_change_shape_cannot_be_compared(network):
    halve(network)
    surgeon = network.train_state.surgeon
    with pytest.raises(ValueError, match=r"implement Target.outputs"):
        at_present({"code": torch.zeros(2, 4)}, {"code": torch.zeros(2, 2)}, surgeon)


def test_default_outputs_are_the_model_s_or_its_components():
    target = Autoencoder(latent_dim=4)
    model = target.build(torch.Generator().manual_seed(0))
    batch = next(target.batches(torch.Generator().manual_seed(0)))
    outputs = target.outputs(model.eval(), batch)
    assert list(outputs) == [""] and torch.equal(outputs[""], model(batch))

    class ByParts(Autoencoder):
        def loss(self, model, batch):
            return (model.decoder(model.encoder(batch)) - batch).square().mean()

    assert set(ByParts(latent_dim=4).outputs(model, batch)) == {"encoder", "decoder"}


# ---------------------------------------------------------------------- starting again
def test_an_early_checkpoint_is_the_network_of_that_step():
    generator = torch.Generator().manual_seed(SPEC.seed)
    state = fresh_train_state(SPEC, SPEC.make_target(), generator)
    train(state.target, state.model, state.optimizers, state.target.batches(generator), 24, state.observers)
    for _ in range(2):  # made, and read again
        early = early_tensors(SPEC, 0.2)
        assert all(torch.equal(early[name], tensor) for name, tensor in state.model.state_dict().items())


def test_rewinding_puts_back_the_channels_that_stay(network):
    early = early_tensors(SPEC, 0.2)
    Rewind(share=0.2).begin(network)
    keep = halve(network)
    Rewind(share=0.2).after_cut(network, seed=0)
    state = network.train_state
    stays = keep[: len(early["encoder.0.weight"])]
    assert torch.equal(state.model.encoder[0].weight, early["encoder.0.weight"][stays])
    assert torch.equal(state.model.encoder[1].running_mean, early["encoder.1.running_mean"][stays])
    assert not state.optimizers[0].state
    assert state.optimizers[0].param_groups[0]["lr"] == 0.005


def test_what_is_handed_in_has_no_early_checkpoint():
    given = Network.of(Autoencoder(latent_dim=4, dense_steps=120, learning_rate=0.005))
    with pytest.raises(ValueError, match="was handed in"):
        Rewind().begin(given)
    Scratch().begin(given)


def test_scratch_draws_fresh_weights_of_the_right_size(network):
    halve(network)
    dense = network.train_state.target.build(torch.Generator().manual_seed(5))
    Scratch().after_cut(network, seed=5)
    model = network.train_state.model
    first, second = model.encoder[0], model.encoder[3]
    keep = torch.arange(dense.encoder[0].out_features) % 2 == 0
    assert torch.equal(first.weight, dense.encoder[0].weight[keep])  # pixels do not go
    bound = 1 / second.in_features**0.5
    assert 0.9 * bound < float(second.weight.detach().abs().max()) <= bound * 1.0001


@pytest.mark.parametrize("name", FINE_TUNINGS)
def test_every_entry_trains_repeats_itself_and_is_undone(name):
    env = gym.make(
        "PruneEnv/Autoencoder-v1", **OPTIONS, rounds=2, steps_per_round=3, budget=0.5, fine_tuning=name
    ).unwrapped
    scores = []
    for _ in range(2):
        env.reset(seed=3)
        dense = env.network.train_state.model.encoder[0].weight.clone()
        trial = env.view.evaluate(np.full(7, 0.3))
        assert torch.equal(env.network.train_state.model.encoder[0].weight, dense)
        over = False
        while not over:
            _, _, over, _, info = env.step(np.full(7, 0.3, dtype=np.float32))
        scores.append((trial, info["reward_terms"]["retained"]))
    assert scores[0] == scores[1]
    plain = env.reset(seed=3, options={"fine_tuning": "plain"}) and env.view.evaluate(np.full(7, 0.3))
    assert (plain == scores[0][0]) == (name == "plain")


def test_a_name_is_registered_once_and_unknown_ones_are_refused():
    with pytest.raises(ValueError, match="already registered"):
        register_fine_tuning("plain", FineTuning())
    with pytest.raises(ValueError, match="did you mean 'distillation'"):
        gym.make("PruneEnv/Autoencoder-v1", fine_tuning="destillation")
    with pytest.raises(ValueError, match="share must be"):
        gym.make("PruneEnv/Autoencoder-v1", fine_tuning="distillation:share=2")


def test_importance_is_measured_on_the_mixed_loss(network):
    """The observer of distillation goes before the tracker, with gradients that are already mixed."""
    halve(network)
    batches, observers = Distillation(share=1.0).training(network, iter([next_batch(network)] * 2))
    assert isinstance(observers[0], Teaching)
    nn.Module.zero_grad(network.train_state.model)
    state = network.train_state
    loss = train(state.target, state.model, state.optimizers, batches, 1, [*observers, *state.observers])
    assert np.isfinite(loss)
