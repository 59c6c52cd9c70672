"""Soft coefficients of Sundaram et al. 2025 (arXiv 2507.14882), privileged: how much of each group goes.

A coefficient in [0, 1] says how much of a group is pruned; the coefficients are chosen for the score on the task at a
given sparsity, by a grid or by gradient descent.

Letters: G groups, W present channels, flat in group order.
"""

from __future__ import annotations

import numpy as np

from prune_env.baselines.allocation import AMOUNT
from prune_env.baselines.privileged import Privileged
from prune_env.envs import NetworkView, PruningEnv
from prune_env.importance import CRITERIA
from prune_env.open_sets import find
from prune_env.validation import Range, check_value

_MOST = 100_000  # points of the grid that are looked at
_BETAS = (0.9, 0.999)  # of Adam


class SoftGrid(Privileged):
    """Try points of a grid of coefficients whose sparsity is the wanted one up to a tolerance, and use the best.

    Args:
        env: As for `Privileged`.
        evaluations: Trials at most; if more points qualify, these are drawn from them.
        points: Values of a coefficient, evenly spaced from 0 to the bound, at least 2.
        tolerance: How far the sparsity may be below the wanted one, as a share of the cost; it is never above the cost.
        amount: As for `Privileged`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self, env: PruningEnv, evaluations: int = 48, points: int = 6, tolerance: float = 0.03, amount: float = AMOUNT
    ):
        super().__init__(env, amount)
        check_value("evaluations", evaluations, int, Range(1))
        check_value("points", points, int, Range(2))
        check_value("tolerance", tolerance, float, Range(0, 1, "()"))
        self._evaluations, self._points, self._tolerance = evaluations, points, tolerance
        self._seed = 0

    def seed(self, seed: int) -> None:
        """Seed what is drawn from the grid."""
        self._seed = seed

    def ratios(self, view: NetworkView) -> np.ndarray:
        """The best ratios [G] tried."""
        random = np.random.default_rng(self._seed)
        self._seed += 1
        widths = self._qualified(view, random)
        values = [view.evaluate_widths(option) for option in widths]
        return 1.0 - widths[int(np.argmax(values))] / view.widths

    def _qualified(self, view: NetworkView, random: np.random.Generator) -> np.ndarray:
        """Different widths on the grid within the tolerance, or those next below the target, int [n, G]."""
        total = self._points**self.groups
        if total <= _MOST:
            chosen = np.stack(np.unravel_index(np.arange(total), (self._points,) * self.groups), axis=1)
        else:
            chosen = random.integers(0, self._points, (_MOST, self.groups))
        widths = np.unique(view.widths_at(self.max_ratio * chosen / (self._points - 1)), axis=0)
        target, present = self.cost_target(view), float(view.cost_of(view.widths))
        below = (target - np.asarray(view.cost_of(widths), dtype=np.float64)) / present
        fits = np.flatnonzero((below >= 0) & (below <= self._tolerance))
        if not len(fits):
            return widths[[int(np.argmin(np.where(below >= 0, below, np.abs(below) + 1.0)))]]
        if len(fits) > self._evaluations:
            fits = np.sort(random.choice(fits, self._evaluations, replace=False))
        return widths[fits]


class SoftGradient(Privileged):
    """Descend the training loss over coefficients, on the surface of equal cost.

    The kept share k_g of a group opens the gates of its channels, most important first, with a ramp around the last
    open one, so that the loss has a slope in k_g (`soft_gates`). The step follows the gradient of the loss with respect
    to logit(k), less its part along the gradient of the exact cost, by Adam; a shift of all logits then puts the cost
    back to the target. Every step takes one training batch, and is counted as a training step; no trial cuts. The ramp
    and the projection are choices of this package: the paper states the problem, a task loss under a sparsity
    constraint, and solves it by gradient descent.

    Args:
        env: As for `Privileged`.
        iterations: Steps of the descent.
        rate: Learning rate on the logits.
        ramp: Width of the ramp, in (0, 1]; at k = 1/2 it is half of this share of the channels.
        criterion: Ranks the channels of a group, a name of `prune_env.importance.CRITERIA`.
        amount: As for `Privileged`.

    Raises:
        ValueError: If an argument is out of range, or the criterion unknown or random.
    """

    def __init__(
        self,
        env: PruningEnv,
        iterations: int = 60,
        rate: float = 0.1,
        ramp: float = 0.5,
        criterion: str = "fisher_weight",
        amount: float = AMOUNT,
    ):
        super().__init__(env, amount)
        check_value("iterations", iterations, int, Range(1))
        check_value("rate", rate, float, Range(0, ends="()"))
        check_value("ramp", ramp, float, Range(0, 1, "(]"))
        find("criterion", criterion, {name: known for name, known in CRITERIA.items() if not known.draws})
        self._iterations, self._rate, self._ramp, self._criterion = iterations, rate, ramp, criterion

    def ratios(self, view: NetworkView) -> np.ndarray:
        """The ratios [G] after the last step."""
        present = view.widths.astype(np.float64)
        ranks = channel_ranks(view.scores(self._criterion), view.group_of)
        target = self.cost_target(view)
        logits = self._on_target(view, np.zeros(self.groups), target)
        mean, square = np.zeros(self.groups), np.zeros(self.groups)
        for step in range(1, self._iterations + 1):
            kept = self._kept(logits)
            slope_of_kept = (kept - (1.0 - self.max_ratio)) * (1.0 - kept) / self.max_ratio
            gates, slopes = soft_gates(kept, ranks, view.group_of, present, self._ramp)
            loss, gradient = view.gated_loss(gates)
            if not np.isfinite(loss) or not np.isfinite(gradient).all():
                continue
            downhill = np.bincount(view.group_of, gradient * slopes, self.groups) * slope_of_kept
            costly = self._marginal_costs(view, kept) * present * slope_of_kept
            along = downhill - costly * (downhill @ costly) / max(float(costly @ costly), np.finfo(float).tiny)
            mean = _BETAS[0] * mean + (1 - _BETAS[0]) * along
            square = _BETAS[1] * square + (1 - _BETAS[1]) * along**2
            scale = np.sqrt(square / (1 - _BETAS[1] ** step)) + 1e-12
            logits = self._on_target(view, logits - self._rate * mean / (1 - _BETAS[0] ** step) / scale, target)
        return 1.0 - self._kept(logits)

    def _kept(self, logits: np.ndarray) -> np.ndarray:
        """Kept shares [..., G], between 1 - max_ratio and 1."""
        return 1.0 - self.max_ratio / (1.0 + np.exp(np.clip(logits, -50, 50)))

    def _on_target(self, view: NetworkView, logits: np.ndarray, target: float) -> np.ndarray:
        """Logits [G] shifted alike, so that the cost is the largest up to the target."""
        low, high = -20.0, 20.0
        logits = np.clip(logits, -10.0, 10.0)
        for _ in range(3):
            shifts = np.linspace(high, low, 65)
            fits = view.cost_of(view.widths_at(1.0 - self._kept(logits + shifts[:, None]))) <= target
            first = int(np.argmax(fits)) if fits.any() else len(shifts) - 1
            low, high = shifts[first], shifts[max(first - 1, 0)]
        return logits + low

    def _marginal_costs(self, view: NetworkView, kept: np.ndarray) -> np.ndarray:
        """What one more channel of each group costs at these shares, float [G]."""
        widths = np.maximum(view.widths_at(1.0 - kept), 1)
        more = np.minimum(widths + np.eye(self.groups, dtype=np.int64), view.widths)
        fewer = np.maximum(more - np.eye(self.groups, dtype=np.int64), 1)
        added = np.asarray(view.cost_of(more), np.float64) - np.asarray(view.cost_of(fewer), np.float64)
        return added / np.maximum((more - fewer).sum(axis=1), 1)


def channel_ranks(values: np.ndarray, group_of: np.ndarray) -> np.ndarray:
    """Place of every channel in its group, 0 for the largest value, int [W]; of equal ones the earlier is first."""
    order = np.lexsort((-values, group_of))
    counts = np.bincount(group_of)
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = np.arange(len(values)) - np.repeat(counts.cumsum() - counts, counts)
    return ranks


def soft_gates(
    kept: np.ndarray, ranks: np.ndarray, group_of: np.ndarray, present: np.ndarray, ramp: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gates clip((k C - rank - 1/2) / b + 1/2, 0, 1) with b = max(2 ramp C k (1 - k), 1), and their slopes in k, [W].

    Their sum is k C, up to rounding within the ramp; all are open at k = 1 and closed at k = 0.

    Args:
        kept: k, [G].
        ranks: [W].
        group_of: Group of every channel, int [W].
        present: C, [G].
        ramp: In (0, 1].
    """
    k, channels = kept[group_of], present[group_of]
    raw = 2.0 * ramp * channels * k * (1.0 - k)
    width = np.maximum(raw, 1.0)
    growth = np.where(raw > 1.0, 2.0 * ramp * channels * (1.0 - 2.0 * k), 0.0)
    distance = k * channels - ranks - 0.5
    gates = distance / width + 0.5
    slopes = channels / width - distance / width**2 * growth
    return np.clip(gates, 0.0, 1.0), np.where((gates > 0) & (gates < 1), slopes, 0.0)
