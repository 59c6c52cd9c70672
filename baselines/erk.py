"""ERK for channels, privileged: densities that follow from the shapes of layers alone.

Letters: G groups, N values of epsilon.
"""

from __future__ import annotations

import numpy as np

from prune_env.baselines.allocation import AMOUNT
from prune_env.baselines.privileged import Privileged
from prune_env.envs import NetworkView, PruningEnv
from prune_env.validation import check_value

_GRID = 64  # values of epsilon in each of the refinements
_REFINEMENTS = 4


def erk_density(shape: tuple[int, ...], kernel: bool = True) -> float:
    """Density of a layer up to a factor: (n_in + n_out + k_h + k_w) / (n_in * n_out * k_h * k_w).

    Evci et al. 2020 (RigL, arXiv 1911.11134, section 3); without `kernel`, Mocanu et al. 2018 (SET, arXiv 1707.04780,
    equation 3): (n_in + n_out) / (n_in * n_out). A weight with fewer than two dimensions has density 1.

    Args:
        shape: Of the layer's weight, of which the first two dimensions are channels.
        kernel: Whether the kernel's sizes count.
    """
    if len(shape) < 2:
        return 1.0
    sizes = shape if kernel else shape[:2]
    return float(sum(sizes) / np.prod(sizes))


class ERK(Privileged):
    """Erdos-Renyi kernel densities, in channels: small layers keep a larger share.

    The share of its channels that a group keeps is min(1, epsilon * density of its root layer), with one epsilon for
    all groups, the largest that meets the round's budget. In the paper it is a share of weights. No trials.

    Args:
        env: As for `Privileged`.
        kernel: Whether sizes of kernels count (ERK), or channels alone (ER).
        amount: As for `Privileged`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, env: PruningEnv, kernel: bool = True, amount: float = AMOUNT):
        super().__init__(env, amount)
        check_value("kernel", kernel, bool)
        self._kernel = kernel

    def ratios(self, view: NetworkView) -> np.ndarray:
        """The ratios [G] at the largest epsilon within the budget, or at the smallest there is."""
        density = np.array([erk_density(shape, self._kernel) for shape in view.root_shapes])
        target, least = self.cost_target(view), 1.0 - self.max_ratio
        low, high = least / density.max(), 1.0 / density.min()
        kept = view.widths_at(np.full(self.groups, self.max_ratio))
        for _ in range(_REFINEMENTS):
            epsilon = np.geomspace(low, high, _GRID)
            shares = np.clip(epsilon[:, None] * density, least, 1.0)  # [N, G]
            widths = view.widths_at(1.0 - shares)
            fits = view.cost_of(widths) <= target
            if not fits.any():
                break
            last = int(np.flatnonzero(fits)[-1])
            kept, low, high = widths[last], epsilon[last], epsilon[min(last + 1, _GRID - 1)]
        return 1.0 - kept / view.widths
