"""EvoPress, privileged: an evolutionary search by level switches, whose evaluations grow with the selection.

Letters: G groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prune_env.baselines.search import Search
from prune_env.envs import NetworkView, PruningEnv
from prune_env.validation import Range, check_value


class EvoPress(Search):
    """One parent, many offspring, and several selections (Sieberling et al. 2024, arXiv 2410.14649, algorithm 1).

    An offspring is the parent after min(a, b) level switches, with a and b drawn from 1 to 3: one group loses a level
    of its ratio, another gains one, so that compression stays what it was; here the budget's projection sees to that
    exactly. The first selection tries all offspring with little effort, the next ones the survivors with more; the
    parent takes part in the last one. In the paper the effort is the number of tokens; here, of training steps.

    Args:
        env: As for `Search`.
        evaluations: As for `Search`; trials of every effort count.
        start: As for `Search`: the first parent; by default equal ratios.
        offspring: Offspring of a generation.
        survivors: How many survive each selection; the last number is 1.
        efforts: Training steps of each selection's trials, as shares of a round's; the last is 1.
        levels: A level is `max_ratio` / `levels`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        env: PruningEnv,
        evaluations: int = 48,
        start: str | None = None,
        offspring: int = 6,
        survivors: Sequence[int] = (2, 1),
        efforts: Sequence[float] = (0.25, 1.0),
        levels: int = 12,
    ):
        super().__init__(env, evaluations, start)
        check_value("offspring", offspring, int, Range(1))
        check_value("levels", levels, int, Range(1))
        check_value("survivors", tuple(survivors), tuple[int, ...], Range(1))
        for effort in efforts:
            check_value("efforts", effort, float, Range(0, 1, "[]"))
        if len(survivors) != len(efforts) or not survivors or survivors[-1] != 1 or efforts[-1] != 1:
            raise ValueError(
                "survivors and efforts must have one number for each selection, and 1 for the last; got "
                f"{list(survivors)} and {list(efforts)}"
            )
        self._offspring, self._survivors, self._efforts = offspring, tuple(survivors), tuple(efforts)
        self._level = self.max_ratio / levels

    def search(self, view: NetworkView, random: np.random.Generator) -> np.ndarray:
        """The ratios [G] of the last parent."""
        begin = np.full(self.groups, self.max_ratio / 2) if self.begin is None else self.begin
        parent = self._executed(view, begin)
        begun, end = view.trial_cuts, self.evaluations
        generation = self._offspring + sum(self._survivors[:-1]) + 1
        if end - (view.trial_cuts - begun) < generation or self.groups < 2:
            view.evaluate(parent)
        while self.groups > 1 and end - (view.trial_cuts - begun) >= generation:
            parent = self._executed(view, self._next_parent(view, parent, random))
        return parent

    def _next_parent(self, view: NetworkView, parent: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The winner of a generation, ratios [G]."""
        alive = self._brood(parent, random)
        for survivors, effort in zip(self._survivors, self._efforts, strict=True):
            if effort == 1.0 and survivors == 1:
                alive = [*alive, parent]
            values = [view.evaluate(ratios, round(effort * view.steps)) for ratios in alive]
            alive = [alive[i] for i in np.argsort(np.negative(values), kind="stable")[:survivors]]
        return alive[0]

    def _brood(self, parent: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
        """Offspring of a parent, all different as far as that is possible."""
        brood: list[np.ndarray] = []
        for _ in range(20 * self._offspring):
            child = self.switched(parent, int(random.integers(1, 4, 2).min()), random)
            if not any(np.array_equal(child, other) for other in brood):
                brood.append(child)
            if len(brood) == self._offspring:
                break
        return brood

    def switched(self, ratios: np.ndarray, switches: int, random: np.random.Generator) -> np.ndarray:
        """Ratios float32 [G] after level switches between pairs of groups, drawn from those that have room."""
        changed = ratios.astype(np.float64)
        for _ in range(switches):
            lower = np.flatnonzero(changed > 0)
            deeper = np.flatnonzero(changed < self.max_ratio)
            down = random.choice(lower) if len(lower) else None
            deeper = deeper[deeper != down]
            if down is None or not len(deeper):
                break
            up = random.choice(deeper)
            changed[down] = max(changed[down] - self._level, 0.0)
            changed[up] = min(changed[up] + self._level, self.max_ratio)
        return self.bounded(changed)

    def _executed(self, view: NetworkView, ratios: np.ndarray) -> np.ndarray:
        """What the projection makes of ratios, so that levels are those of the network, float32 [G]."""
        return self.bounded(1.0 - view.widths_for(self.bounded(ratios)) / view.widths)
