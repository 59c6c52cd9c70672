"""The three importance measures of arXiv 2601.19794, §3: gradient, Fisher (batch approximation) and Bayes.

Every function works on arrays of any shape: one entry for each group, or one for each channel.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Variant = Literal["literal", "corrected"]
MEASURES = ("gradient", "fisher", "bayes")


def gamma_update(
    alpha: float, beta: Tensor, energy: Tensor, kappa: float = 0.25, eta: float = 1.0
) -> tuple[float, Tensor]:
    """Posterior of the exponential rate after one more observation of the gradient energy (§3, Bayes).

    alpha += kappa;  beta += kappa * energy / eta.

    Args:
        alpha: Shape of the Gamma posterior.
        beta: Its rate.
        energy: E_g = I_grad of this iteration.
        kappa: Weight of one observation.
        eta: Scale of the gradient energy.
    """
    return alpha + kappa, beta + kappa * energy / eta


def bayes_importance(alpha: float, beta: Tensor, fisher: Tensor, variant: Variant = "literal") -> Tensor:
    """I_bayes = log(1 + mu) * (1 + I_fisher).

    "literal" is the paper's formula, mu = alpha / beta: the posterior mean of an exponential *rate*, so it *falls* as
    gradient energy rises, the opposite of what the paper's text says of it. "corrected" uses mu = beta / alpha, the
    posterior scale of the gradient energy, which rises with it.
    """
    mu = alpha / beta if variant == "literal" else beta / alpha
    return torch.log1p(mu) * (1.0 + fisher)
