"""Successive halving over fine-tuning steps, privileged: many rough trials, few thorough ones."""

from __future__ import annotations

import numpy as np

from prune_env.baselines.search import Search
from prune_env.envs import NetworkView, PruningEnv
from prune_env.validation import Range, check_value


class SuccessiveHalving(Search):
    """Of n candidates with few training steps each, the best 1 / `factor` are tried with `factor` times as many.

    Jamieson and Talwalkar 2016 (arXiv 1502.07943, figure 3). The last rung trains as long as a round. A trial begins
    from the network as it stands, not where the rung before ended: networks of earlier trials are not kept.

    Args:
        env: As for `Search`.
        evaluations: As for `Search`; the trials of all rungs together.
        start: As for `Search`: the other candidates are drawn around it; by default uniformly.
        factor: Share of candidates that goes on is 1 / `factor`, at least 2.
        rungs: Lengths of training, at least 1: steps of a round divided by factor^(rungs - 1), ..., factor, 1.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self, env: PruningEnv, evaluations: int = 48, start: str | None = None, factor: int = 3, rungs: int = 3
    ):
        super().__init__(env, evaluations, start)
        check_value("factor", factor, int, Range(2))
        check_value("rungs", rungs, int, Range(1))
        check_value("evaluations", evaluations, int, Range(rungs))
        self._factor, self._rungs = factor, rungs

    @property
    def sizes(self) -> list[int]:
        """Trials of each rung: the most candidates whose rungs, each 1 / factor of the one before, fit in all."""
        for candidates in range(self.evaluations, 0, -1):
            sizes = [max(candidates // self._factor**rung, 1) for rung in range(self._rungs)]
            if sum(sizes) <= self.evaluations:
                return sizes
        raise AssertionError("one trial for each rung always fits")

    def search(self, view: NetworkView, random: np.random.Generator) -> np.ndarray:
        """The ratios [G] that are best in the last rung."""
        sizes = self.sizes
        if self.begin is None:
            alive = [self.bounded(random.uniform(0.0, self.max_ratio, self.groups)) for _ in range(sizes[0])]
        else:
            alive = [self.begin, *(self.bounded(self.near(self.begin, random)) for _ in range(sizes[0] - 1))]
        values: list[float] = []
        for rung, size in enumerate(sizes):
            if rung:
                alive = [alive[i] for i in np.argsort(np.negative(values), kind="stable")[:size]]
            steps = round(view.steps / self._factor ** (self._rungs - 1 - rung))
            values = [view.evaluate(ratios, steps) for ratios in alive]
        return alive[int(np.argmax(values))]
