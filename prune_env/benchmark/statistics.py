"""Numbers of a curve of retained scores, and shares of networks.

Letters: B budgets, S seeds, N networks, T thresholds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import trapezoid

FloatArray = NDArray[np.float64]


def area_under_curve(retained: ArrayLike, sparsities: ArrayLike, axis: int = -1) -> FloatArray:
    """Area under the curve of retained score over sparsity, by the trapezoid rule, divided by the range of sparsities.

    With one sparsity it is the retained score there.

    Args:
        retained: [..., B, ...].
        sparsities: [B], ascending.
        axis: Where B is.
    """
    curve, x = np.moveaxis(np.asarray(retained, dtype=float), axis, -1), np.asarray(sparsities, dtype=float)
    if (np.diff(x) <= 0).any():
        raise ValueError(f"sparsities must ascend, got {x.tolist()}")
    if len(x) == 1:
        return np.asarray(curve[..., 0])
    return np.asarray(trapezoid(curve, x, axis=-1) / (x[-1] - x[0]))


def useful_area(retained: ArrayLike, sparsities: ArrayLike, axis: int = -1) -> FloatArray:
    """Area under the curve of max(R, 0): a network that is worse than the trivial solution is worth as much as that.

    Below the floor, differences say how fast a ruined network gets worse, which nobody needs to know; unclipped, most
    of a lead can lie there.

    Args:
        retained: [..., B, ...].
        sparsities: [B], ascending.
        axis: Where B is.
    """
    return area_under_curve(np.maximum(np.asarray(retained, dtype=float), 0.0), sparsities, axis)


def hypervolume(sparsity: ArrayLike, retained: ArrayLike, axis: int = -1) -> FloatArray:
    """Area of the (sparsity, retained score) plane that a curve's points dominate, with reference (0, 0).

    Args:
        sparsity: [..., B, ...], as achieved, in any order.
        retained: The same shape; points with negative retained score dominate nothing.
        axis: Where B is.
    """
    x, y = (np.moveaxis(np.asarray(a, dtype=float), axis, -1) for a in (sparsity, retained))
    order = np.argsort(x, axis=-1)
    x, y = (np.take_along_axis(np.maximum(a, 0.0), order, axis=-1) for a in (x, y))
    best_beyond = np.maximum.accumulate(y[..., ::-1], axis=-1)[..., ::-1]
    return np.asarray((np.diff(x, axis=-1, prepend=0.0) * best_beyond).sum(axis=-1))


def share_better(first: ArrayLike, second: ArrayLike) -> float:
    """Share of networks and pairs of seeds in which the first policy has more than the second, ties as one half.

    Args:
        first: [S, N].
        second: [S', N], on the same networks.
    """
    pairs = np.asarray(first, dtype=float)[:, None] - np.asarray(second, dtype=float)[None]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean()) if pairs.size else float("nan")


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> FloatArray:
    """Whether scores exceed thresholds (arXiv 2108.13264, §4.2): averaged over seeds and networks, the profile.

    Args:
        scores: [S, N].
        thresholds: [T].

    Returns:
        [T, S, N], zeros and ones.
    """
    return np.asarray(np.asarray(scores) > np.asarray(thresholds, dtype=float)[:, None, None], dtype=float)
