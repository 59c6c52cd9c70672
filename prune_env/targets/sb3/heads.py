"""Distributions of actions: what a policy network is measured by, and what distillation compares.

torch's own distributions draw from the global random state; these draw from a generator.

Letters: B batch, A actions of one head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Gaussian:
    """Independent normal distributions: before the tanh, where a policy squashes its actions.

    Attributes:
        mean: [B, A].
        std: Standard deviations, [B, A] or what broadcasts to it.
    """

    mean: Tensor
    std: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What the network computes."""
        return self.mean, self.std

    def mode(self) -> Tensor:
        """The most likely action, [B, A]."""
        return self.mean

    def sample(self, generator: torch.Generator) -> Tensor:
        """Actions [B, A] without gradients."""
        noise = torch.randn(self.mean.shape, generator=generator).to(self.mean)
        return (self.mean + self.std * noise).detach()

    def log_prob(self, action: Tensor) -> Tensor:
        """Logarithm of the density of actions [B, A], without its constant, [B]."""
        return (-0.5 * ((action - self.mean) / self.std) ** 2 - self.std.log()).sum(1)

    def divergence(self, other: Gaussian) -> Tensor:
        """KL(self || other), [B]."""
        ratio = self.std / other.std
        return (0.5 * (ratio**2 + ((self.mean - other.mean) / other.std) ** 2 - 1) - ratio.log()).sum(1)


@dataclass(frozen=True)
class Categorical:
    """One of A actions.

    Attributes:
        logits: Unnormalised logarithms of probabilities, [B, A].
    """

    logits: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What the network computes."""
        return (self.logits,)

    def mode(self) -> Tensor:
        """The most likely action, int64 [B]."""
        return self.logits.argmax(1)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Actions, int64 [B]."""
        probabilities = self.logits.detach().softmax(1)
        return torch.multinomial(probabilities.cpu(), 1, generator=generator)[:, 0].to(self.logits.device)

    def log_prob(self, action: Tensor) -> Tensor:
        """Logarithm of the probability of actions int64 [B], [B]."""
        return self.logits.log_softmax(1).gather(1, action[:, None])[:, 0]

    def divergence(self, other: Categorical) -> Tensor:
        """KL(self || other), [B]."""
        own, others = self.logits.log_softmax(1), other.logits.log_softmax(1)
        return (own.exp() * (own - others)).sum(1)


@dataclass(frozen=True)
class Bernoulli:
    """A yes or no.

    Attributes:
        logits: Logarithms of the odds, [B, A].
    """

    logits: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What the network computes."""
        return (self.logits,)

    def mode(self) -> Tensor:
        """The most likely actions, int64 [B, A]."""
        return (self.logits > 0).long()

    def sample(self, generator: torch.Generator) -> Tensor:
        """Actions, int64 [B, A]."""
        uniform = torch.rand(self.logits.shape, generator=generator).to(self.logits.device)
        return (uniform < self.logits.sigmoid()).long()

    def log_prob(self, action: Tensor) -> Tensor:
        """Logarithm of the probability of actions int64 [B, A], [B]."""
        return -functional.binary_cross_entropy_with_logits(self.logits, action.to(self.logits), reduction="none").sum(
            1
        )

    def divergence(self, other: Bernoulli) -> Tensor:
        """KL(self || other), [B]."""
        own = self.logits.sigmoid()
        cross = functional.binary_cross_entropy_with_logits(other.logits, own, reduction="none")
        return (cross - functional.binary_cross_entropy_with_logits(self.logits, own, reduction="none")).sum(1)


Head = Gaussian | Categorical | Bernoulli


def exploration_std(log_std: Tensor, use_expln: bool) -> Tensor:
    """Standard deviations of state-dependent exploration (gSDE, arXiv 2005.05719): exp, or expln that grows slower."""
    if not use_expln:
        return log_std.exp()
    return torch.where(log_std <= 0, log_std.clamp(max=0).exp(), log_std.clamp(min=0).log1p() + 1)


def state_dependent(mean: Tensor, latent: Tensor, std: Tensor) -> Gaussian:
    """The Gaussian of gSDE for latents [B, L] and standard deviations [L, A] or [L, 1]."""
    return Gaussian(mean, (latent**2 @ std**2 + 1e-6).sqrt().expand_as(mean))
