"""Normalised observations inside the policy network, so that a saved agent acts alike whoever loads it.

VecNormalize keeps its statistics outside the model, and SB3 saves them in another file. Here they become buffers in
front of the features extractor while a model is saved: `SAC.load("model.zip")` then takes raw observations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor


class NormalizedObservations(BaseFeaturesExtractor):
    """A features extractor on observations normalised as VecNormalize does, bit for bit.

    Args:
        observation_space: As for SB3's extractors.
        extractor_class: The extractor behind it.
        extractor_kwargs: Its arguments.
        clip: Largest absolute value of a normalised observation.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        observation_space: gym.Space,
        extractor_class: type[BaseFeaturesExtractor] = FlattenExtractor,
        extractor_kwargs: dict[str, Any] | None = None,
        clip: float = 10.0,
    ):
        extractor = extractor_class(observation_space, **(extractor_kwargs or {}))
        super().__init__(observation_space, extractor.features_dim)
        self.extractor, self.clip = extractor, clip
        # In double precision, as VecNormalize computes.
        shape = observation_space.shape or ()
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(shape, dtype=torch.float64))

    def forward(self, observations: Tensor) -> Tensor:
        """Raw observations, [B, ...], to features."""
        normalised = (observations.double() - self.mean) / self.scale
        return self.extractor(normalised.clamp(-self.clip, self.clip).float())


@contextmanager
def normalising(model: BaseAlgorithm, normaliser: VecNormalize | None) -> Iterator[None]:
    """Within, the model takes raw observations: what `normaliser` does is part of its policy network."""
    if normaliser is None or not normaliser.norm_obs:
        yield
        return
    kwargs = model.policy_kwargs
    statistics = running_statistics(normaliser)
    behind = {
        "extractor_class": kwargs.get("features_extractor_class", model.policy.features_extractor_class),
        "extractor_kwargs": kwargs.get("features_extractor_kwargs", model.policy.features_extractor_kwargs),
        "clip": float(normaliser.clip_obs),
    }

    def wrap(extractor: BaseFeaturesExtractor) -> NormalizedObservations:
        wrapped = NormalizedObservations(model.observation_space, **behind).to(model.device)
        wrapped.extractor = extractor
        wrapped.mean.copy_(torch.as_tensor(statistics.mean))
        wrapped.scale.copy_(torch.as_tensor(np.sqrt(statistics.var + normaliser.epsilon)))
        return wrapped

    _replace_extractors(model, wrap)
    model.policy_kwargs = {
        **kwargs,
        "features_extractor_class": NormalizedObservations,
        "features_extractor_kwargs": behind,
    }
    try:
        yield
    finally:
        model.policy_kwargs = kwargs
        _replace_extractors(model, lambda wrapped: wrapped.extractor)


def takes_raw_observations(model: BaseAlgorithm) -> bool:
    """Whether a loaded model normalises its observations itself."""
    return model.policy_kwargs.get("features_extractor_class") is NormalizedObservations


def without_normalisation(model: BaseAlgorithm) -> None:
    """Undo `normalising` in a loaded model, which then takes what VecNormalize gives, to train on."""
    if not takes_raw_observations(model):
        return
    behind = model.policy_kwargs["features_extractor_kwargs"]
    model.policy_kwargs = {
        **model.policy_kwargs,
        "features_extractor_class": behind["extractor_class"],
        "features_extractor_kwargs": behind["extractor_kwargs"],
    }
    _replace_extractors(model, lambda wrapped: wrapped.extractor)


def running_statistics(normaliser: VecNormalize) -> RunningMeanStd:
    """Mean, variance and count of the observations."""
    assert isinstance(normaliser.obs_rms, RunningMeanStd)  # a dict only for dict observations, which there are none of
    return normaliser.obs_rms


def _replace_extractors(model: BaseAlgorithm, change: Any) -> None:
    """Replace the features extractors of a policy, actor and critics included; shared ones stay shared."""
    changed: dict[int, Any] = {}
    places = list(model.policy.named_modules(remove_duplicate=False))
    inside = tuple(f"{name}." for name, module in places if isinstance(module, NormalizedObservations))
    for name, module in places:
        if isinstance(module, BaseFeaturesExtractor) and not name.startswith(inside):
            if id(module) not in changed:
                changed[id(module)] = change(module)
            parent, _, leaf = name.rpartition(".")
            setattr(model.policy.get_submodule(parent), leaf, changed[id(module)])
