"""The features extractor of a pruned CNN policy: SB3's NatureCNN with widths that its own arguments cannot say."""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium as gym
import torch
from stable_baselines3.common.torch_layers import NatureCNN
from torch import nn


class NatureCNNOfWidths(NatureCNN):
    """NatureCNN (Mnih et al. 2015) with other numbers of channels; agents saved with it need prune_env to be loaded.

    Args:
        observation_space: As for NatureCNN.
        channels: Of the three convolutions.
        features_dim: Outputs.
        normalized_image: As for NatureCNN.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        channels: Sequence[int] = (32, 64, 64),
        features_dim: int = 512,
        normalized_image: bool = False,
    ):
        super().__init__(observation_space, features_dim, normalized_image)
        inputs = [observation_space.shape[0], *channels]  # type: ignore[index]  # a Box, as NatureCNN has checked
        layers = [layer for layer in self.cnn if isinstance(layer, nn.Conv2d)]
        places = [i for i, layer in enumerate(self.cnn) if isinstance(layer, nn.Conv2d)]
        for place, layer, before, after in zip(places, layers, inputs[:-1], channels, strict=True):
            self.cnn[place] = nn.Conv2d(before, after, layer.kernel_size, layer.stride)  # type: ignore[arg-type]
        with torch.no_grad():
            flat = self.cnn(torch.as_tensor(observation_space.sample()[None]).float()).shape[1]
        self.linear = nn.Sequential(nn.Linear(flat, features_dim), nn.ReLU())


def channels_of(extractor: NatureCNN) -> tuple[int, ...]:
    """Channels of the convolutions as they are now."""
    return tuple(layer.out_channels for layer in extractor.cnn if isinstance(layer, nn.Conv2d))


def features_of(extractor: NatureCNN) -> int:
    """Outputs as they are now; a cut does not change what SB3 remembers of it."""
    return extractor.linear[0].out_features  # type: ignore[return-value]
