"""Grid search over ratios, privileged.

Letters: G groups, B blocks of neighbouring groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from prune_env.baselines.search import Search
from prune_env.envs import NetworkView, PruningEnv
from prune_env.validation import Range, check_value


class GridSearch(Search):
    """Every combination of `points` ratios, for as many blocks of groups as the trials allow.

    With points^G beyond the trials, neighbouring groups share a ratio: they form B blocks, points^B <= evaluations.
    Points that lead to the same widths are one trial. It is deterministic. With a start, the grid lies around it:
    the rates -log(1 - ratio) at which its blocks lose channels are multiplied by exp of -1 to 1.

    Args:
        env: As for `Search`.
        evaluations: As for `Search`; at least `points`.
        start: As for `Search`.
        points: Ratios of a block, evenly spaced from 0 to the bound, at least 2.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, env: PruningEnv, evaluations: int = 48, start: str | None = None, points: int = 3):
        super().__init__(env, evaluations, start)
        check_value("points", points, int, Range(2))
        check_value("evaluations", evaluations, int, Range(points))
        self._points = points

    @property
    def blocks(self) -> list[np.ndarray]:
        """Indices of the groups of each block, [B]."""
        count = 1
        while count < self.groups and self._points ** (count + 1) <= self.evaluations:
            count += 1
        return np.array_split(np.arange(self.groups), count)

    def search(self, view: NetworkView, random: np.random.Generator) -> np.ndarray:
        """The best ratios [G] of the grid."""
        best, score = np.zeros(self.groups), -np.inf
        known: set[tuple[int, ...]] = set()
        for candidate in self._all_candidates(random, []):
            ratios = self.bounded(candidate)
            widths = tuple(view.widths_for(ratios).tolist())
            if widths in known or len(known) == self.evaluations:
                continue
            known.add(widths)
            if (value := view.evaluate(ratios)) > score:
                best, score = ratios, value
        return best

    def candidates(self, random: np.random.Generator, values: list[float]) -> Iterator[np.ndarray]:
        """The points of the grid, in order."""
        blocks = self.blocks
        block_of = np.concatenate([np.full(len(groups), b) for b, groups in enumerate(blocks)])
        steps = np.linspace(-1.0, 1.0, self._points)
        for chosen in product(steps, repeat=len(blocks)):
            step = np.array(chosen)[block_of]
            if self.begin is None:
                yield self.max_ratio * (1.0 + step) / 2.0
            else:
                yield 1.0 - (1.0 - self.begin.astype(np.float64)) ** np.exp(step)
