"""What is done about a cut: normalisation statistics, and biases that hold the means of removed channels."""

import itertools

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

import prune_env  # noqa: F401
from prune_env.dense import CheckpointSpec
from prune_env.dense.checkpoints import fresh_train_state
from prune_env.groups import Surgeon, discover
from prune_env.repair import REPAIRS, CompensateMeans, RecalibrateBatchNorm
from prune_env.targets import Target, make_target
from prune_env.training import train

SPEC = CheckpointSpec("autoencoder", {"latent_dim": 4})


def batches(train_state, seed=0):
    return train_state.target.batches(torch.Generator().manual_seed(seed))


def test_recalibration_is_the_mean_over_batches():
    target = make_target("autoencoder", latent_dim=4)
    model = target.build(torch.Generator().manual_seed(0))
    momentum = model.encoder[1].momentum
    drawn = [next(source) for source in [target.batches(torch.Generator().manual_seed(3))] for _ in range(4)]
    RecalibrateBatchNorm(count=4).after_cut(target, model, iter(drawn))
    inputs = [model.encoder[0](batch) for batch in drawn]
    mean = torch.stack([x.mean(0) for x in inputs]).mean(0)
    variance = torch.stack([x.var(0) for x in inputs]).mean(0)
    assert torch.allclose(model.encoder[1].running_mean, mean, atol=1e-5)
    assert torch.allclose(model.encoder[1].running_var, variance, atol=1e-5)
    assert model.encoder[1].momentum == momentum
    assert all(p.grad is None for p in model.parameters())


def test_recalibration_rescues_a_cut_network():
    """Right after a cut the statistics of everything behind it are wrong."""
    train_state = fresh_train_state(SPEC)
    train(train_state.target, train_state.model, train_state.optimizers, batches(train_state), 400)
    keep = torch.rand(len(train_state.surgeon.present), generator=torch.Generator().manual_seed(0)) > 0.15
    train_state.surgeon.cut(keep)
    cut = train_state.target.score(train_state.model, "validation")
    RecalibrateBatchNorm().after_cut(train_state.target, train_state.model, batches(train_state, 1))
    assert train_state.target.score(train_state.model, "validation") > cut


class Small(Target):
    """Convolutions or linear layers in two components; the batch is the input."""

    components = ("a", "b")

    def __init__(self, images):
        self.images = images

    def build(self, generator):
        torch.manual_seed(0)
        model = nn.Module()
        if self.images:
            model.a = nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.ReLU(), nn.Flatten())
            model.b = nn.Sequential(nn.Linear(4 * 4, 6), nn.ReLU(), nn.Linear(6, 3))
        else:
            model.a = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
            model.b = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
        return model

    def inputs(self, count=1):
        return torch.randn(count, 2, 8, 6) if self.images else torch.randn(count, 4)

    def run(self, model, batch):
        return model.b(model.a(batch))

    def trace(self, model):
        x = torch.zeros(1, 2, 6, 6) if self.images else torch.zeros(1, 4)
        return self.run(model, x)

    def loss(self, model, batch):
        return self.run(model, batch).square().mean()


@pytest.mark.parametrize("images", [False, True], ids=["linear", "convolutions"])
def test_channels_that_never_change_are_compensated_exactly(images):
    target = Small(images)
    model = target.build(None)
    surgeon = Surgeon(model, discover(model, target.trace, target.components))
    constant = model.a[0]
    with torch.no_grad():
        constant.weight[[1, 4]] = 0.0
        constant.bias[[1, 4]] = torch.tensor([2.0, 0.7])
    batch = torch.randn(16, 2, 6, 6) if images else torch.randn(16, 4)
    before = target.run(model, batch)
    keep = torch.ones(len(surgeon.present), dtype=torch.bool)
    keep[[1, 4]] = False  # the first group is the first layer's
    CompensateMeans().before_cut(target, surgeon, keep, iter([batch]))
    surgeon.cut(keep)
    assert constant.weight.shape[0] == len(constant.bias) < 6
    assert torch.allclose(target.run(model, batch), before, atol=1e-5)


def test_the_mean_by_hand():
    target = Small(images=False)
    model = target.build(None)
    surgeon = Surgeon(model, discover(model, target.trace, target.components))
    batch = torch.randn(8, 4)
    mean = model.a(batch).mean(0)
    expected = model.b[0].bias + model.b[0].weight[:, 2] * mean[2]
    keep = torch.ones(len(surgeon.present), dtype=torch.bool)
    keep[2] = False
    CompensateMeans().before_cut(target, surgeon, keep, iter([batch]))
    assert torch.allclose(model.b[0].bias, expected, atol=1e-6)


def test_slow_copies_are_mended_with_their_own_weights():
    env = gym.make("PruneEnv/TDMPCPendulum-v0", rounds=1, steps_per_round=0, starts=1).unwrapped
    env.reset(seed=0)
    train_state = env.network.train_state
    (twin,) = [module for prefix, module in train_state.target.target_networks(train_state.model) if prefix == "q1"]
    before = twin[0].bias.clone()
    keep = torch.ones(len(train_state.surgeon.present), dtype=torch.bool)
    keep[train_state.surgeon.group_of == 1] = torch.arange(int(train_state.surgeon.widths[1])) > 3  # of the latent
    batch = batches(train_state)
    CompensateMeans().before_cut(train_state.target, train_state.surgeon, keep, batch)
    moved = (train_state.model.q1[0].bias, twin[0].bias)
    assert not torch.equal(twin[0].bias, before)
    assert not torch.equal(moved[0], moved[1])


def test_controllers_keep_more_of_their_return_with_means():
    """Right after a cut and without training, over a few controllers and depths."""
    retained = {}
    for repair in ("none", "mean"):
        env = gym.make(
            "PruneEnv/TDMPCPendulum-v0", pool=12, split="held_out", rounds=1, steps_per_round=0, repair=repair,
            controller="policy", starts=6,
        ).unwrapped  # fmt: skip
        values = []
        for network, budget in itertools.product(range(4), (0.3, 0.4, 0.5)):
            env.reset(seed=1, options={"budget": budget, "network": network})
            env.step(np.full(env.action_space.shape, 0.3, dtype=np.float32))
            values.append(env.episode.terms.retained)
        retained[repair] = np.mean(values)
    assert retained["mean"] > retained["none"] + 0.1


def test_targets_name_the_repair_that_suits_them():
    for name in ("autoencoder", "tdmpc"):
        assert make_target(name).repair in REPAIRS
    assert make_target("tdmpc").repair == "mean"


def test_statistics_that_are_not_finite_are_forgotten():
    target = make_target("autoencoder", latent_dim=4)
    model, healthy = (target.build(torch.Generator().manual_seed(0)) for _ in range(2))
    for statistic in (model.encoder[1].running_mean, model.encoder[1].running_var):
        statistic.fill_(float("nan"))
    for network in (model, healthy):
        RecalibrateBatchNorm(count=2).after_cut(target, network, target.batches(torch.Generator().manual_seed(3)))
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), healthy.buffers(), strict=True))
