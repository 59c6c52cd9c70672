"""The autoencoder: sizes of the paper's tables, groups, batches, loss, score and floor by hand, and its options."""

import itertools
import json
import math
import pickle

import numpy as np
import pooch
import pytest
import torch
from torch import nn

from prune_env.described import describe
from prune_env.groups import discover
from prune_env.targets import Autoencoder, DenseTraining, data, make_target
from prune_env.targets.autoencoder import AutoencoderNet, layer_widths

# Table 1 of arXiv 2601.19794
PARAMETERS = {8: 1_563_536, 64: 1_705_888, 256: 2_312_992, 512: 3_409_184}


@pytest.fixture(scope="module")
def digits():
    return Autoencoder(latent_dim=4, dense_steps=60)


@pytest.fixture(scope="module")
def mnist():
    """The MNIST target from files on disk; nothing is downloaded for a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooch, "retrieve", lambda *args, **kwargs: pytest.skip("no MNIST here: set PRUNE_ENV_DATA"))
        return Autoencoder(data="mnist")


def built(target, seed=0):
    return target.build(torch.Generator().manual_seed(seed))


def parameters(model):
    return sum(p.numel() for p in model.parameters())


class Answer(nn.Module):
    """A model that answers every image with the same one."""

    def __init__(self, image):
        super().__init__()
        self.image = torch.as_tensor(image, dtype=torch.float32)

    def forward(self, images):
        return self.image.expand_as(images)


# ---------------------------------------------------------------------- sizes
def test_widths_interpolate_from_input_to_latent():
    assert layer_widths(784, 256) == [784, 652, 520, 388, 256]
    assert layer_widths(64, 16, hidden_layers=1) == [64, 40, 16]
    assert layer_widths(10, 3, hidden_layers=2) == [10, 8, 5, 3]  # 7.67 and 5.33, rounded


@pytest.mark.parametrize(("latent", "count"), PARAMETERS.items())
def test_the_network_has_the_papers_number_of_parameters(latent, count):
    assert parameters(AutoencoderNet(layer_widths(784, latent))) == count


@pytest.mark.parametrize(("latent", "count"), PARAMETERS.items())
def test_the_mnist_target_has_the_papers_number_of_parameters(mnist, latent, count):
    assert parameters(built(Autoencoder(data="mnist", latent_dim=latent))) == count


def test_latent_and_output_are_bare_and_every_hidden_layer_is_normalised(digits):
    model = built(digits)
    hidden = ["Linear", "BatchNorm1d", "ReLU"]
    for part in (model.encoder, model.decoder):
        assert [type(layer).__name__ for layer in part] == hidden * 3 + ["Linear"]
    pixels = model(torch.randn(5, 64) * 100)
    assert pixels.shape == (5, 64) and pixels.min() >= 0 and pixels.max() <= 1
    first, latent, last = model.encoder[0], model.encoder[-1], model.decoder[-1]
    assert (first.in_features, latent.out_features, last.out_features) == (64, 4, 64)


def root_entries(model, group):
    """Entries of the root layer that belong to a group's channels."""
    tensors = dict(model.named_parameters())
    return sum(
        tensors[s.tensor].numel() // tensors[s.tensor].shape[s.dim] * s.positions.size for s in group.root_slices
    )


def test_the_papers_autoencoder_has_six_component_groups_and_one_coupling_group(mnist):
    model = built(mnist)
    grouping = discover(model, mnist.trace, mnist.components)
    assert [g.kind for g in grouping].count("component") == 6
    (latent,) = (g for g in grouping if g.kind == "coupling")
    assert latent.root == "encoder.9" and latent.channels == 256 and latent.components == ("encoder", "decoder")
    # Table 2 counts weight and bias of the root layer.
    counts = {g.root: root_entries(model, g) for g in grouping}
    assert counts["encoder.3"] == 339_560 and counts["encoder.6"] == 202_148
    assert counts["encoder.9"] == 99_584
    assert counts["decoder.3"] == 202_280 and counts["decoder.6"] == 339_692
    assert grouping.widths.tolist() == [652, 520, 388, 256, 388, 520, 652]


def test_the_output_layer_is_no_group(digits):
    model = built(digits)
    grouping = discover(model, digits.trace, digits.components)
    assert grouping.names == ("encoder.0", "encoder.3", "encoder.6", "encoder.9", "decoder.0", "decoder.3", "decoder.6")
    assert [g.kind for g in grouping] == ["component"] * 3 + ["coupling"] + ["component"] * 3
    assert "decoder.9" in [g.name for g in grouping.locked]


# ---------------------------------------------------------------------- building
def test_build_draws_from_the_generator_alone(digits):
    torch.manual_seed(1)
    first = built(digits, seed=5).state_dict()
    torch.manual_seed(2)
    second = built(digits, seed=5).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["encoder.0.weight"], built(digits, seed=6).state_dict()["encoder.0.weight"])


def test_weights_have_torchs_usual_range(digits):
    layer = built(digits).encoder[0]
    bound = 1 / math.sqrt(64)
    for tensor in (layer.weight, layer.bias):
        assert bound * 0.8 < tensor.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


# ---------------------------------------------------------------------- batches and loss
def test_an_epoch_covers_images_without_repetition(digits):
    batches = digits.batches(torch.Generator().manual_seed(0))
    assert digits.dense_training.steps_per_epoch == 18  # 1,197 images in batches of 64
    train = {tuple(image) for image in data.load_digits().train.tolist()}
    epochs = [torch.cat([next(batches) for _ in range(18)]) for _ in range(2)]
    for epoch in epochs:
        rows = {tuple(image) for image in epoch.tolist()}
        assert epoch.shape == (1152, 64) and rows <= train
        assert len(rows) == 1152  # the digits hold no two equal images
    assert not torch.equal(*epochs)


def test_batches_follow_their_generator(digits):
    one, same, other = (digits.batches(torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    torch.manual_seed(0)
    assert all(torch.equal(next(one), next(same)) for _ in range(20))
    assert not torch.equal(next(one), next(other))


def test_mnist_batches_are_pixels_in_0_1(mnist):
    batch = next(mnist.batches(torch.Generator().manual_seed(0)))
    assert batch.shape == (256, 784) and batch.dtype == torch.float32
    assert batch.min() == 0 and batch.max() == 1
    assert torch.equal((batch * 255).round() / 255, batch)


def test_the_loss_is_the_mean_squared_error(digits):
    batch = torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    loss = digits.loss(Answer([0.25, 0.75]), batch)
    assert loss.dim() == 0
    assert float(loss) == pytest.approx((0.0625 + 0.0625 + 0.0625 + 0.0625) / 4)
    assert float(digits.loss(Answer([0.0, 0.0]), batch)) == pytest.approx((0 + 1 + 0.25 + 0.25) / 4)


# ---------------------------------------------------------------------- score and floor
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_score_is_minus_the_mse_on_that_split(digits, split):
    images = getattr(data.load_digits(), split).double().numpy()
    answer = np.linspace(0, 1, 64)
    mse = ((images - answer) ** 2).mean()
    assert digits.score(Answer(answer), split) == pytest.approx(-mse, rel=1e-6)
    metrics = digits.metrics(Answer(answer), split)
    assert metrics["mse"] == pytest.approx(mse, rel=1e-6)
    assert metrics["psnr"] == pytest.approx(-10 * np.log10(mse), rel=1e-6)


def test_psnr_of_a_known_error():
    target = Autoencoder(latent_dim=4)
    target._images = data.Images(*[torch.tensor([[0.2, 0.4]])] * 3, white=1.0)
    metrics = target.metrics(Answer([0.3, 0.3]), "test")  # off by 0.1 everywhere: MSE 0.01, 20 dB
    assert metrics["mse"] == pytest.approx(0.01, rel=1e-5) and metrics["psnr"] == pytest.approx(20.0, rel=1e-5)
    assert math.isnan(target.metrics(Answer([math.nan, 0.0]), "test")["psnr"])


def test_the_floor_is_the_score_of_the_mean_training_image(digits):
    images = data.load_digits()
    mean = images.train.double().numpy().mean(0)
    for split in ("validation", "test"):
        expected = -((getattr(images, split).double().numpy() - mean) ** 2).mean()
        assert digits.floor(split) == pytest.approx(expected, rel=1e-6)
    assert digits.floor("train") == pytest.approx(-images.train.double().numpy().var(0).mean(), rel=1e-6)


def test_score_and_floor_of_mnist_are_on_pixels_in_0_1(mnist):
    images = data.load_mnist()
    mean = images.train.double().numpy().mean(0) / 255
    expected = -((images.validation.double().numpy() / 255 - mean) ** 2).mean()
    assert mnist.floor("validation") == pytest.approx(expected, rel=1e-5)
    assert mnist.score(Answer(mean), "validation") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_scoring_leaves_the_model_as_it_was(digits, training):
    model = built(digits).train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert digits.score(model, "validation") == digits.score(model, "validation")
    assert model.training is training and model.encoder[1].training is training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


# ---------------------------------------------------------------------- training
def test_adam_starts_at_one_rate_and_ends_at_the_other():
    target = Autoencoder(latent_dim=4, learning_rate=0.02, final_learning_rate=0.005)
    model = built(target)
    optimizers = target.optimizers(model)
    assert [type(o).__name__ for o in optimizers] == ["Adam"]
    covered = {id(p) for settings in optimizers[0].param_groups for p in settings["params"]}
    assert covered == {id(p) for p in model.parameters()}
    assert {s["lr"] for s in optimizers[0].param_groups} == {0.02}
    target.anneal(optimizers)
    assert {s["lr"] for s in optimizers[0].param_groups} == {0.005}


def test_training_lowers_the_loss_and_calls_back_once_a_step(digits):
    model, called = built(digits), []
    optimizers, batches = digits.optimizers(model), digits.batches(torch.Generator().manual_seed(0))
    losses = [digits.training_step(model, optimizers, batch, called.append) for batch in itertools.islice(batches, 60)]
    assert losses[-1] < 0.8 * losses[0] and not losses[0].requires_grad
    assert called == optimizers * 60


# ---------------------------------------------------------------------- options
def test_defaults_of_both_data_sets(mnist):
    digits = Autoencoder()
    assert (digits.latent_dim, digits.batch_size, digits.dense_training.steps) == (16, 64, 2000)
    assert (mnist.latent_dim, mnist.batch_size) == (256, 256)
    assert mnist.dense_training == DenseTraining(2000, steps_per_epoch=226)


def test_settings_are_json_and_tell_networks_apart(digits):
    settings = digits.settings()
    assert json.loads(json.dumps(settings)) == settings
    assert settings == {
        "data": "digits",
        "latent_dim": 4,
        "hidden_layers": 3,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "final_learning_rate": 3e-4,
        "images": None,
        "dense_training": describe(DenseTraining(60, steps_per_epoch=18), "dense_training"),
    }
    assert Autoencoder(latent_dim=5, dense_steps=60).settings() != settings


def test_a_pickle_holds_settings_and_no_images(digits):
    content = pickle.dumps(digits)
    assert len(content) < 5_000
    arrived = pickle.loads(content)
    assert arrived.settings() == digits.settings()
    assert arrived.floor("test") == digits.floor("test")
    model = built(digits)
    assert arrived.score(model, "validation") == digits.score(model, "validation")
    one, other = (t.batches(torch.Generator().manual_seed(1)) for t in (arrived, digits))
    assert torch.equal(next(one), next(other))


def test_training_may_use_the_first_images_alone(digits):
    few = Autoencoder(latent_dim=4, images=128)
    assert few.dense_training.steps_per_epoch == 2 and few.settings()["images"] == 128
    batches = few.batches(torch.Generator().manual_seed(0))
    epoch = torch.cat([next(batches), next(batches)])
    used = data.load_digits().train[:128]
    assert torch.equal(epoch.sort(0).values, used.sort(0).values)
    assert pickle.loads(pickle.dumps(few)).floor("test") == few.floor("test") != digits.floor("test")


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_latent_sizes_that_are_held_out_never_occur_in_training(request, name):
    target = request.getfixturevalue(name)
    sizes = {split: {v["latent_dim"] for v in target.variants(split)} for split in ("train", "held_out")}
    assert sizes["train"] and sizes["held_out"] and not sizes["train"] & sizes["held_out"]
    assert all(set(v) == {"latent_dim"} for split in sizes for v in target.variants(split))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "cifar"}, "unknown data 'cifar'; known data: digits, mnist"),
        ({"latent_dim": 0}, "latent_dim"),
        ({"hidden_layers": 0}, "hidden_layers"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 1}, "batch_size"),
        ({"batch_size": 2000}, "batch_size"),
        ({"dense_steps": 0}, "dense_steps"),
        ({"dense_steps": -5}, "dense_steps"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"final_learning_rate": -1e-3}, "final_learning_rate"),
        ({"images": 0}, r"images must be a whole number in \[1, 1197\], got 0"),
        ({"images": 1198}, "images"),
        ({"images": 32}, "batch_size must be at most 32"),
        ({"latent": 8}, "latent"),
        ({"latent_dim": "eight"}, "latent_dim"),
    ],
)
def test_bad_options_raise_and_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make_target("autoencoder", **options)
