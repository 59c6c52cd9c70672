"""From an action to channels: validation, the budget projection, and the choice of channels within a group.

Letters: G groups, W present channels of all groups, flat in group order, B batch of candidate width vectors.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

CostOf = Callable[[np.ndarray], np.ndarray]  # widths int [B, G] -> cost [B]

# A group that the action leaves alone is still cut, this much slower than the one cut most, once all others are gone.
_RELUCTANCE = 1e-3
_GRID = 64


def validate_action(action: np.ndarray, groups: int, max_ratio: float) -> np.ndarray:
    """The action as float64 [G], clipped by at most a rounding error.

    Raises:
        ValueError: If it has the wrong shape, is not finite, or leaves [0, max_ratio].
    """
    given = np.asarray(action)
    if given.dtype.kind not in "iuf":
        raise ValueError(f"the action must be an array of numbers; got {action!r}")
    action = given.astype(np.float64)
    if action.shape != (groups,):
        raise ValueError(
            f"the action must have shape ({groups},), one pruning ratio for each group; got {action.shape}"
        )
    if not np.isfinite(action).all():
        raise ValueError(f"the action must be finite; got {action.tolist()}")
    if action.min() < -1e-6 or action.max() > max_ratio + 1e-6:
        raise ValueError(
            f"pruning ratios must lie in [0, {max_ratio}]; got {action.min():.6g} to {action.max():.6g}. An agent that "
            "acts in [-1, 1] needs gymnasium.wrappers.RescaleAction(env, -1.0, 1.0)"
        )
    return action.clip(0.0, max_ratio)


def widths_after(ratios: np.ndarray, widths: np.ndarray, min_channels: np.ndarray, round_to: int = 1) -> np.ndarray:
    """Channels that stay at these ratios: rounded to nearest, at least `min_channels`; multiples of `round_to`.

    Args:
        ratios: Shares of present channels to remove, [..., G].
        widths: Present channels, int [G].
        min_channels: Channels that stay whatever the action says, int [G].
        round_to: Widths become multiples of this where they shrink.
    """
    kept = np.floor(widths * (1.0 - ratios) / round_to + 0.5) * round_to
    return np.maximum(kept, least_widths(min_channels, widths, round_to)).clip(max=widths).astype(np.int64)


def least_widths(min_channels: np.ndarray, widths: np.ndarray, round_to: int = 1) -> np.ndarray:
    """The fewest channels that may stay, int [G]: a multiple of `round_to`, or the present width where that is less."""
    return np.minimum(-(-np.asarray(min_channels) // round_to) * round_to, widths)


def project(
    ratios: np.ndarray,
    widths: np.ndarray,
    cost_of: CostOf,
    target: float,
    min_channels: np.ndarray,
    round_to: int = 1,
) -> np.ndarray:
    """The widths, int [G], that lie in the direction of the action and cost at most `target`, as closely as can be.

    Every group keeps the share (1 - ratio)^t of its channels, with one t for all found by refining a grid: the action
    says how the cut is shared out, the budget how deep it goes. What rounding cut too much is then given back, one
    step at a time, where it hurt most. Ratios that are all zero express no preference and cut uniformly.

    Args:
        ratios: float [G] in [0, 1).
        widths: Present channels, int [G].
        cost_of: Cost of width vectors, [B, G] -> [B].
        target: The cost to end at.
        min_channels: int [G].
        round_to: Widths become multiples of this where they shrink.
    """
    if cost_of(widths[None])[0] <= target:
        return widths.copy()
    speed = -np.log1p(-np.minimum(ratios, 1 - 1e-9))
    speed = np.ones_like(speed) if speed.max() < 1e-9 else np.maximum(speed, _RELUCTANCE * speed.max())
    deepest = np.log(2.0 * widths.max() + 1.0) / speed.min()
    low, high = 0.0, deepest
    for stage in range(4):
        times = np.geomspace(high / 1e6, high, _GRID) if stage == 0 else np.linspace(low, high, _GRID)
        kept = widths_after(1.0 - np.exp(-times[:, None] * speed), widths, min_channels, round_to)
        fits = cost_of(kept) <= target
        first = int(fits.argmax()) if fits.any() else _GRID - 1
        low, high = (times[first - 1] if first else 0.0), times[first]
    wanted = widths * np.exp(-high * speed)
    return _give_back(kept[first], wanted, widths, cost_of, target, round_to)


def _give_back(
    kept: np.ndarray, wanted: np.ndarray, widths: np.ndarray, cost_of: CostOf, target: float, round_to: int
) -> np.ndarray:
    """Return channels while the budget allows it, first to the group that lies furthest below its unrounded share."""
    while True:
        candidates = np.minimum(kept + np.eye(len(kept)) * round_to, widths)
        grows = candidates.diagonal() > kept
        # A group at its full share or above has no claim: what it is owed is the budget's slack, not more than a step.
        allowed = grows & (cost_of(candidates) <= target) & (wanted > kept - round_to)
        if not allowed.any():
            return kept
        claim = np.where(allowed, (wanted - kept) / np.maximum(widths, 1), -np.inf)
        kept = candidates[int(claim.argmax())]


def choose_channels(values: np.ndarray, group_of: np.ndarray, remove: np.ndarray) -> np.ndarray:
    """Which channels stay, bool [W]: in every group, all but the `remove[g]` with the lowest values.

    Ties go to the channel that comes later, so that the result does not depend on the sorting algorithm.

    Args:
        values: The criterion, float [W].
        group_of: Group of every channel, int [W], ascending.
        remove: Channels to remove from each group, int [G].
    """
    order = np.lexsort((values, group_of))
    counts = np.bincount(group_of, minlength=len(remove))
    rank = np.arange(len(values)) - np.repeat(counts.cumsum() - counts, counts)
    keep = np.empty(len(values), dtype=bool)
    keep[order] = rank >= remove[group_of]
    return keep
