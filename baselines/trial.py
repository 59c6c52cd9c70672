"""Privileged: try what every heuristic would do on the network itself, and do what went best.

Letters: G groups, F columns of an observation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from prune_env.baselines.allocation import AMOUNT
from prune_env.baselines.heuristics import HEURISTICS, Heuristic, ImportanceMeasure, NoPruning, Random
from prune_env.baselines.privileged import Privileged
from prune_env.baselines.threshold import THRESHOLDS
from prune_env.envs import PruningEnv


class BestHeuristic(Privileged):
    """The plain heuristics and global thresholds, each tried once on validation data, every trial counted.

    It is what remains of choosing a heuristic by hand, done for each network and budget anew.

    Args:
        env: As for `Privileged`.
        amount: As for `Privileged`.
    """

    def __init__(self, env: PruningEnv, amount: float = AMOUNT):
        super().__init__(env, amount)
        plain = [kind for kind in HEURISTICS.values() if kind not in (NoPruning, Random, ImportanceMeasure)]
        self._plain = [kind(env, amount) for kind in plain]
        self._thresholds = [make(env) for name, make in THRESHOLDS.items() if name != "global"]

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """The ratios float32 [G] that kept most of the score, for an observation [G * F] of the attached network.

        Raises:
            RuntimeError: If no network was attached.
        """
        view = self.attached()
        for threshold in self._thresholds:
            threshold.attach(view)
        heuristics: list[Heuristic | Privileged] = [*self._plain, *self._thresholds]
        tried = [heuristic.predict(observation)[0] for heuristic in heuristics]
        return tried[int(np.argmax([view.evaluate(ratios) for ratios in tried]))], state
