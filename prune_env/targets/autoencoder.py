"""The autoencoder of arXiv 2601.19794 (Table 1) on handwritten digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from prune_env.targets.autoencoder_pool import draw_autoencoder
from prune_env.targets.base import DenseTraining, EntryPoint, PoolSplit, Split, Target
from prune_env.targets.data import LOADERS, Images
from prune_env.targets.redundancy import duplicate_units
from prune_env.validation import Range, check_value

_LATENT_SIZES: dict[str, dict[PoolSplit, tuple[int, ...]]] = {
    "digits": {"train": (4, 8, 16, 32), "held_out": (6, 12, 24)},
    "mnist": {"train": (8, 64, 256), "held_out": (32, 128)},
}
_TRAINING = {"digits": (64, 2000), "mnist": (256, 2000)}  # batch size [images], dense training [steps]
_VIDEO_SCALE = 6  # screen pixels per image pixel


def layer_widths(inputs: int, latent: int, hidden_layers: int = 3) -> list[int]:
    """Widths from input to latent, linearly interpolated, such as 784, 652, 520, 388, 256 for MNIST."""
    stages = hidden_layers + 1
    return [round(inputs + (latent - inputs) * i / stages) for i in range(stages + 1)]


class AutoencoderNet(nn.Module):
    """Blocks of Linear, BatchNorm and ReLU down to a linear latent, and others up to pixels in [0, 1].

    Args:
        encoder: Widths from input to latent.
        decoder: Widths from latent to output; by default the encoder's, mirrored.
    """

    def __init__(self, encoder: list[int], decoder: list[int] | None = None):
        super().__init__()
        self.encoder = _mlp(encoder)
        self.decoder = _mlp(decoder or encoder[::-1])

    def forward(self, images: Tensor) -> Tensor:
        """Reconstruct images, [B, pixels] in [0, 1]."""
        return torch.sigmoid(self.decoder(self.encoder(images)))


def _mlp(widths: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
        layers.append(nn.Linear(fan_in, fan_out))
        if i < len(widths) - 2:
            layers += [nn.BatchNorm1d(fan_out), nn.ReLU()]
    return nn.Sequential(*layers)


def _checked(
    values: Sequence[Any] | None, name: str, count: int | None, kind: type, allowed: Range
) -> tuple[Any, ...] | None:
    """A tuple of numbers in a range, as many as there must be; None stays None."""
    if values is None:
        return None
    if not isinstance(values, Sequence) or isinstance(values, str) or (count is not None and len(values) != count):
        many = "a sequence of numbers" if count is None else f"{count} numbers, one for each hidden layer"
        raise ValueError(f"{name} must be {many}, got {values!r}")
    for i, value in enumerate(values):
        check_value(f"{name}[{i}]", value, kind, allowed)
    return tuple(values)


class Autoencoder(Target):
    """Reconstruct handwritten digits through a narrow latent.

    The loss is the mean squared error, the score its negative on pixels in [0, 1], and the floor the predictor that
    answers with the mean training image: the retained score is the share of the dense network's explained variance that
    is still explained.

    Args:
        data: "digits" (8x8, embedded, milliseconds a step) or "mnist" (28x28, see `prune_env.targets.data`).
        latent_dim: Width of the latent [channels]; by default 16 for digits, 256 for MNIST.
        hidden_layers: Hidden layers of the encoder, and as many of the decoder.
        batch_size: Images in a training batch; by default 64 for digits, 256 for MNIST.
        dense_steps: Training steps of a dense checkpoint; 2,000 by default.
        learning_rate: Of Adam, for the first four fifths of dense training.
        final_learning_rate: Of Adam for the last fifth, and for all training after a cut.
        images: How many training images are used, the first ones; by default all.
        hidden: Widths of the hidden layers, first the encoder's and then the decoder's [channels]; by default
            interpolated.
        distinct: For each of these layers, the share of its units that are distinct at the start of training; the
            others are copies. By default all are.
        classes: Digits that are in the data, in training and in evaluation; by default all.
        weight_decay: Of Adam, an L2 term.

    Raises:
        ValueError: If an option is unknown or out of range.
        DataError: If MNIST is asked for and is missing or damaged.
    """

    components = ("encoder", "decoder")
    unit = "-MSE"

    def __init__(
        self,
        data: str = "digits",
        latent_dim: int | None = None,
        hidden_layers: int = 3,
        batch_size: int | None = None,
        dense_steps: int | None = None,
        learning_rate: float = 1e-3,
        final_learning_rate: float = 3e-4,
        images: int | None = None,
        hidden: Sequence[int] | None = None,
        distinct: Sequence[float] | None = None,
        classes: Sequence[int] | None = None,
        weight_decay: float = 0.0,
    ):
        if data not in LOADERS:
            raise ValueError(f"unknown data {data!r}; known data: {', '.join(LOADERS)}")
        self.data = data
        self.latent_dim = latent_dim if latent_dim is not None else {"digits": 16, "mnist": 256}[data]
        self.hidden_layers = hidden_layers
        self.batch_size = batch_size if batch_size is not None else _TRAINING[data][0]
        steps = dense_steps if dense_steps is not None else _TRAINING[data][1]
        self.learning_rate = learning_rate
        self.final_learning_rate = final_learning_rate
        self.images = images
        # A batch of one image has no variance to normalise by.
        for name, least in {"latent_dim": 1, "hidden_layers": 1, "batch_size": 2}.items():
            check_value(name, getattr(self, name), int, Range(-(2**31), 2**31))
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        check_value("dense_steps", steps, int, Range(1))
        for name in ("learning_rate", "final_learning_rate"):
            check_value(name, getattr(self, name), float)
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        self.hidden = _checked(hidden, "hidden", 2 * hidden_layers, int, Range(1))
        self.distinct = _checked(distinct, "distinct", 2 * hidden_layers, float, Range(0, 1, "(]"))
        self.classes = _checked(classes, "classes", None, int, Range(0, 9, "[]"))
        self.weight_decay = weight_decay
        check_value("weight_decay", weight_decay, float, Range(0))
        if self.classes is not None and (not self.classes or len(set(self.classes)) < len(self.classes)):
            raise ValueError(f"classes must be different digits, at least one; got {classes!r}")
        available = len(self._of_classes().train)
        if images is not None:
            check_value("images", images, int, Range(1, available, "[]"))
        self._images = self._load()
        if self.batch_size > len(self._images.train):
            raise ValueError(
                f"batch_size must be at most {len(self._images.train)}, the training images; got {self.batch_size}"
            )
        self._batches_per_epoch = len(self._images.train) // self.batch_size
        self.dense_training = DenseTraining(steps, steps_per_epoch=self._batches_per_epoch)
        self._mean_image = self._images.train.float().mean(0) / self._images.white

    def __getstate__(self) -> dict[str, Any]:
        """Settings only: the images are loaded anew where the pickle arrives."""
        return {name: value for name, value in self.__dict__.items() if name != "_images"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._images = self._load()
        self.to(self.device)

    def _of_classes(self) -> Images:
        images = LOADERS[self.data]()
        return images if self.classes is None else images.of_classes(self.classes)

    def _load(self) -> Images:
        images = self._of_classes()
        return images if self.images is None else images.first(self.images)

    def settings(self) -> dict[str, Any]:
        """All options; those that came later are left out at their defaults, which are what older networks had."""
        later = {"hidden": None, "distinct": None, "classes": None, "weight_decay": 0.0}
        return {k: v for k, v in super().settings().items() if k not in later or v != later[k]}

    def to(self, device: torch.device | str) -> None:
        """Move the images to a device."""
        super().to(device)
        splits = {split: getattr(self._images, split).to(device) for split in ("train", "validation", "test")}
        self._images, self._mean_image = replace(self._images, **splits), self._mean_image.to(device)

    def build(self, generator: torch.Generator) -> nn.Module:
        """A dense autoencoder with torch's usual initialisation, drawn with `generator`."""
        model = AutoencoderNet(*self._widths())
        for layer in model.modules():
            if isinstance(layer, nn.Linear):  # nn.Linear.reset_parameters, but with a generator
                bound = 1 / math.sqrt(layer.in_features)
                nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        if self.distinct is not None:
            duplicate_units(model.encoder, self.distinct[: self.hidden_layers], generator)
            duplicate_units(model.decoder, self.distinct[self.hidden_layers :], generator)
        return model

    def _widths(self) -> tuple[list[int], list[int]]:
        """Widths of the encoder from input to latent, and of the decoder from latent to output."""
        pixels = self._images.train.shape[1]
        if self.hidden is None:
            widths = layer_widths(pixels, self.latent_dim, self.hidden_layers)
            return widths, widths[::-1]
        first, second = self.hidden[: self.hidden_layers], self.hidden[self.hidden_layers :]
        return [pixels, *first, self.latent_dim], [self.latent_dim, *second, pixels]

    def trace(self, model: nn.Module) -> Tensor:
        """Reconstruct one image."""
        return model(torch.zeros(1, self._images.train.shape[1], device=self.device))

    def entry_points(self, model: nn.Module) -> dict[str, EntryPoint]:
        """Images to their reconstructions."""
        return {
            "forward": EntryPoint(
                nn.Module.__call__, (torch.zeros(1, self._images.train.shape[1], device=self.device),)
            )
        }

    def optimizers(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        """Adam over everything; fused, as a step over small tensors is mostly overhead."""
        decay = self.weight_decay
        return [torch.optim.Adam(model.parameters(), lr=self.learning_rate, weight_decay=decay, fused=True)]

    def anneal(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Lower the learning rate to its final value."""
        for settings in optimizers[0].param_groups:
            settings["lr"] = self.final_learning_rate

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Endless batches of training images [B, pixels], without replacement within an epoch."""
        images = self._images.train
        while True:
            order = torch.randperm(len(images), generator=generator).to(images.device)
            for i in range(self._batches_per_epoch):
                yield self._pixels(images[order[i * self.batch_size : (i + 1) * self.batch_size]])

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        """Mean squared error of the reconstruction."""
        return F.mse_loss(model(batch), batch)

    def labels(self, batch: Tensor) -> Tensor:
        """Classes of training images, int64 [B]; an image is found again by a weighted sum of its pixels."""
        images, classes = self._images.train, self._images.labels["train"].to(batch.device)
        weights = torch.rand(images.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        weights = weights.to(batch.device)
        known, order = (self._pixels(images).double() @ weights).sort()
        wanted = batch.double() @ weights
        above = torch.searchsorted(known, wanted).clamp(1, len(known) - 1)
        nearest = torch.where(wanted - known[above - 1] < known[above] - wanted, above - 1, above)
        return classes[order[nearest]]

    def score(self, model: nn.Module, split: Split) -> float:
        """Negative mean squared error on pixels in [0, 1]."""
        return -self.metrics(model, split)["mse"]

    def metrics(self, model: nn.Module, split: Split) -> dict[str, float]:
        """MSE on pixels in [0, 1], and PSNR = -10 log10(MSE) [dB]."""
        training = model.training
        model.eval()
        with torch.no_grad():
            mse = self._mean_squared_error(split, model)
        model.train(training)
        return {"mse": mse, "psnr": -10 * math.log10(mse) if 0 < mse < math.inf else math.nan}

    def floor(self, split: Split) -> float:
        """Score of the predictor that answers every image with the mean training image."""
        return -self._mean_squared_error(split, self._mean_image.expand_as)

    def video(self, model: nn.Module, split: Split) -> list[npt.NDArray[np.uint8]]:
        """One picture: eight images above their reconstructions."""
        pixels = self._pixels(getattr(self._images, split)[:8])
        model.eval()
        with torch.no_grad():
            rows = torch.stack([pixels, model(pixels)])  # [2, 8, pixels]
        side = math.isqrt(pixels.shape[1])
        grid = rows.view(2, 8, side, side).transpose(1, 2).reshape(2 * side, 8 * side)
        large = (255 * grid).round().to(torch.uint8).cpu().numpy().repeat(_VIDEO_SCALE, 0).repeat(_VIDEO_SCALE, 1)
        return [np.repeat(large[:, :, None], 3, axis=2)]

    def variants(self, split: PoolSplit) -> list[Mapping[str, Any]]:
        """Latent sizes; those held out never occur in training."""
        return [{"latent_dim": size} for size in _LATENT_SIZES[self.data][split]]

    def draw_options(self, random: np.random.Generator, split: PoolSplit) -> Mapping[str, Any]:
        """One network of a pool in which every network differs; see `draw_autoencoder`.

        Raises:
            NotImplementedError: If the data are not digits.
        """
        if self.data != "digits":
            return super().draw_options(random, split)
        return draw_autoencoder(random, split, self.hidden_layers)

    def _mean_squared_error(self, split: Split, reconstruct: Callable[[Tensor], Tensor]) -> float:
        images = getattr(self._images, split)
        total = sum(
            float(F.mse_loss(reconstruct(pixels), pixels, reduction="sum"))
            for pixels in map(self._pixels, images.split(2000))
        )
        return total / images.numel()

    def _pixels(self, images: Tensor) -> Tensor:
        return images if images.is_floating_point() else images.float() / self._images.white
