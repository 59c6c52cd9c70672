"""The base of the example targets: regression on synthetic data, scored against the mean predictor.

Letters: N samples of a split, B samples of a batch. A network of an example takes one tensor per input and returns one
tensor per answer; all of them have samples along their first dimension.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from prune_env.targets.base import DenseTraining, EntryPoint, Split, Target
from prune_env.validation import Range, check_value

_DATA_SEED = 20_250_413
_SIZES: dict[Split, int] = {"train": 2048, "validation": 512, "test": 512}


@dataclass(frozen=True)
class Samples:
    """Inputs and the answers to them, each a tuple of tensors [N, ...]."""

    inputs: tuple[Tensor, ...]
    answers: tuple[Tensor, ...]

    def __getitem__(self, index: Tensor | slice) -> Samples:
        return Samples(tuple(t[index] for t in self.inputs), tuple(t[index] for t in self.answers))

    def __len__(self) -> int:
        return len(self.inputs[0])

    def to(self, device: torch.device) -> Samples:
        """A copy on a device."""
        return Samples(tuple(t.to(device) for t in self.inputs), tuple(t.to(device) for t in self.answers))

    def standardised(self, train: Samples) -> Samples:
        """A copy with answers standardised by the mean and variance of those of `train`."""
        answers = []
        for mine, theirs in zip(self.answers, train.answers, strict=True):
            mean = theirs.mean(0)
            answers.append((mine - mean) / (theirs - mean).square().mean().sqrt())
        return Samples(self.inputs, tuple(answers))


class SyntheticRegression(Target):
    """Learn a smooth function from samples that are drawn with a fixed seed.

    Every answer is shifted and scaled so that on training data it has mean 0 (entry by entry) and variance 1 (over all
    entries). The loss is the mean squared error averaged over the answers, the score its negative, and the floor the
    predictor that answers with the training mean, which scores about -1: the retained score is the share of the dense
    network's explained variance that is still explained.

    A subclass names `components` and implements `draw` and `network`.

    Args:
        width: Hidden channels of every component [channels].
        batch_size: Samples in a training batch.
        dense_steps: Training steps of a dense checkpoint.
        learning_rate: Of Adam; a third of it for the last fifth of dense training, and for all training after a cut.

    Raises:
        ValueError: If a number is out of range.
    """

    unit: ClassVar[str] = "-MSE"

    def __init__(
        self, width: int = 32, batch_size: int = 64, dense_steps: int = 800, learning_rate: float = 3e-3
    ) -> None:
        sizes = Range(1, 2**31)
        for name, value in {"width": width, "dense_steps": dense_steps}.items():
            check_value(name, value, int, sizes)
        check_value("batch_size", batch_size, int, Range(1, _SIZES["train"], "[]"))
        check_value("learning_rate", learning_rate, float, Range(0, ends="()"))
        self.width = width
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self._batches_per_epoch = _SIZES["train"] // self.batch_size
        self.dense_training = DenseTraining(dense_steps, steps_per_epoch=self._batches_per_epoch)
        generator = torch.Generator().manual_seed(_DATA_SEED)
        raw = {split: self.draw(size, generator) for split, size in _SIZES.items()}
        self._samples: dict[Split, Samples] = {split: s.standardised(raw["train"]) for split, s in raw.items()}

    # ---------------------------------------------------------------- what a subclass says
    def draw(self, size: int, generator: torch.Generator) -> Samples:
        """Draw `size` samples of the task, N = size."""
        raise NotImplementedError(f"{type(self).__name__} must implement draw(size, generator)")

    def network(self) -> nn.Module:
        """Make the network; `build` draws its weights afterwards."""
        raise NotImplementedError(f"{type(self).__name__} must implement network()")

    # ---------------------------------------------------------------- the contract of a target
    def build(self, generator: torch.Generator) -> nn.Module:
        """The dense network with torch's usual initialisation, drawn with `generator`."""
        model = self.network()
        for layer in model.modules():
            if isinstance(layer, (nn.Linear, nn.modules.conv._ConvNd)):
                bound = 1 / math.sqrt(layer.weight[0].numel())
                nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
                if layer.bias is not None:
                    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        return model

    def to(self, device: torch.device | str) -> None:
        """Move the samples to a device."""
        super().to(device)
        self._samples = {split: samples.to(self.device) for split, samples in self._samples.items()}

    def trace(self, model: nn.Module) -> tuple[Tensor, ...]:
        """The answers to the first validation sample."""
        return model(*self._samples["validation"][:1].inputs)

    def entry_points(self, model: nn.Module) -> dict[str, EntryPoint]:
        """Inputs to answers."""
        return {"forward": EntryPoint(nn.Module.__call__, self._samples["validation"][:1].inputs)}

    def optimizers(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        """Adam over everything; fused, as a step over small tensors is mostly overhead."""
        return [torch.optim.Adam(model.parameters(), lr=self.learning_rate, fused=True)]

    def anneal(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Lower the learning rate to a third."""
        for settings in optimizers[0].param_groups:
            settings["lr"] = self.learning_rate / 3

    def batches(self, generator: torch.Generator) -> Iterator[Samples]:
        """Endless training batches, without replacement within an epoch."""
        samples = self._samples["train"]
        while True:
            order = torch.randperm(len(samples), generator=generator).to(self.device)
            for i in range(self._batches_per_epoch):
                yield samples[order[i * self.batch_size : (i + 1) * self.batch_size]]

    def loss(self, model: nn.Module, batch: Samples) -> Tensor:
        """Mean squared error, averaged over the answers."""
        return _error(model(*batch.inputs), batch.answers)

    def score(self, model: nn.Module, split: Split) -> float:
        """Negative mean squared error on standardised answers."""
        training = model.training
        model.eval()
        with torch.no_grad():
            error = float(self.loss(model, self._samples[split]))
        model.train(training)
        return -error

    def floor(self, split: Split) -> float:
        """Score of the predictor that answers with the training mean, which is zero here."""
        answers = self._samples[split].answers
        return -float(_error(tuple(map(torch.zeros_like, answers)), answers))


def _error(predictions: tuple[Tensor, ...], answers: tuple[Tensor, ...]) -> Tensor:
    return torch.stack([F.mse_loss(p, a) for p, a in zip(predictions, answers, strict=True)]).mean()


def mlp(*widths: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of these widths with an activation between each two, and none after the last."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), activation()]
    return nn.Sequential(*layers[:-1])
