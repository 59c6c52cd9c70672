"""Criteria that read activations, as the layers that read a channel get it, over calibration batches.

Letters: W present channels of all groups, n positions of a weight, k entries of a kernel, S samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from prune_env.importance.activations import Seen
from prune_env.importance.criteria.base import Criterion, CriterionContext
from prune_env.targets import Target


class Activation(Criterion):
    """Mean magnitude of the channel's activation.

    With the values after a ReLU this ranks like the mean activation of Molchanov et al. 2017 (arXiv 1611.06440).
    """

    def values(self, context: CriterionContext) -> Tensor:
        """Mean |a|, [W]; 0 for a channel that no linear, convolution or recurrent layer reads."""
        return context.activations.channel("mean_abs")


class ActivationVariance(Criterion):
    """Variance of the channel's activation: E[a^2] - E[a]^2 (Polyak and Wolf 2015, 10.1109/ACCESS.2015.2494536).

    A channel that hardly changes can be replaced by a bias, as the repair "mean" does.
    """

    def values(self, context: CriterionContext) -> Tensor:
        """Variances, [W]; 0 for a channel that nothing reads."""
        mean, square = (context.activations.channel(name) for name in ("mean", "mean_square"))
        return (square - mean.square()).clamp(min=0)


class PercentageOfZeros(Criterion):
    """1 - APoZ, the share of a channel's activations that are above zero (Hu et al. 2016, arXiv 1607.03250, eq. 1).

    Behind a ReLU the others are the zeros of the paper.
    """

    def values(self, context: CriterionContext) -> Tensor:
        """Shares, [W]; 0 for a channel that nothing reads."""
        return context.activations.channel("positive")


class Wanda(Criterion):
    """Sum over the readers' weights of |w| * ||a||_2 (Sun et al. 2023, arXiv 2306.11695, equation 1), per channel.

    The norm is divided by the root of the number of values, so that layers that see different numbers compare.
    """

    def values(self, context: CriterionContext) -> Tensor:
        """The sums, [W]; 0 for a channel that nothing reads."""
        activations = context.activations
        model = context.surgeon.model

        def value(seen: Seen) -> Tensor:
            weight = model.get_parameter(seen.read.tensor).detach().abs()
            others = [d for d in range(weight.dim()) if d != seen.read.dim]
            return weight.sum(others) * (seen.sums["mean_square"] / seen.count).sqrt()

        return activations.sum({tensor: value(seen) for tensor, seen in activations.seen.items()})


class Discrimination(Criterion):
    """Separation of classes by a channel's activation: Fisher's criterion, the variance of the class means between
    classes divided by the variance within them (Fisher 1936; Bishop 2006, §4.1.4).

    Discrimination-aware pruning (Zhuang et al. 2018, arXiv 1810.11809) keeps channels that tell classes apart. The
    activation of a sample is its mean over positions.
    """

    def values(self, context: CriterionContext) -> Tensor:
        """Ratios, [W]: the mean over the positions that read it; 0 for a channel that nothing reads.

        Raises:
            ValueError: If no layer reads samples that have labels.
        """
        activations = context.activations
        ratios = {tensor: _separation(seen) for tensor, seen in activations.seen.items() if seen.samples}
        if not ratios:
            self.check(context.target)
            raise ValueError("no layer's input has the samples of Target.labels along its first dimension")
        counts = activations.sum({tensor: torch.ones_like(values) for tensor, values in ratios.items()})
        return activations.sum(ratios) / counts.clamp(min=1)

    def check(self, target: Target) -> None:
        """Whether the target has labels.

        Raises:
            ValueError: If it has not.
        """
        if type(target).labels is Target.labels:
            raise ValueError(
                f"criterion 'discrimination' needs classes, and {type(target).__name__} has none: implement "
                "labels(batch), or choose another criterion"
            )


def _separation(seen: Seen) -> Tensor:
    """Between-class over within-class variance of every position, [n]."""
    samples, labels = torch.cat(seen.samples), torch.cat(seen.labels).to(seen.samples[0].device)
    same = (labels[:, None] == labels).to(samples.dtype)  # [S, S]
    means = same @ samples / same.sum(1, keepdim=True)  # of each sample's class
    between, within = (means - samples.mean(0)).square().sum(0), (samples - means).square().sum(0)
    return between / within.clamp(min=torch.finfo(within.dtype).tiny ** 0.5)
