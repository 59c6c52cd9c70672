"""A view of a network that does not exist: its score and its cost are known functions of widths."""

import numpy as np

from prune_env.envs.action import project, widths_after


class MadeUpView:
    """Groups of known widths. A trial scores `retained(widths)`; the cost is `cost(widths)` for widths int [..., G]."""

    def __init__(self, widths, retained=None, cost=None, cost_target=None, shapes=None, steps=30):
        self.widths = np.array(widths)
        self.least_widths = np.ones_like(self.widths)
        self.names = tuple(f"g{g}" for g in range(len(widths)))
        self.group_of = np.repeat(np.arange(len(widths)), widths)
        self.root_shapes = shapes
        self.cost_target = cost_target
        self.steps = steps
        self._retained = retained or (lambda w: float((w / self.widths).mean()))
        self._cost = cost or (lambda w: w.sum(-1))
        self.tried = []  # (widths, steps)

    @property
    def trial_cuts(self):
        return len(self.tried)

    def cost_of(self, widths, unit=None):
        return self._cost(np.asarray(widths))

    def widths_at(self, ratios):
        return widths_after(np.asarray(ratios), self.widths, self.least_widths)

    def widths_for(self, ratios):
        if self.cost_target is None:
            return self.widths_at(ratios)
        return project(np.asarray(ratios, dtype=float), self.widths, self.cost_of, self.cost_target, self.least_widths)

    def evaluate(self, ratios, steps=None):
        return self.evaluate_widths(self.widths_for(ratios), steps)

    def evaluate_widths(self, widths, steps=None):
        assert widths.shape == self.widths.shape
        assert (widths >= self.least_widths).all() and (widths <= self.widths).all()
        self.tried.append((np.array(widths), self.steps if steps is None else steps))
        return self._retained(np.asarray(widths))
