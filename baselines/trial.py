"""The best of all heuristics for one network, privileged: each is scored by a trial cut.

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
    """Score every plain heuristic and global threshold by a trial cut on validation data, and use the best.

    It stands for choosing a heuristic by hand, for each network and budget; every trial is counted.

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
        """The ratios float32 [G] with the best trial score, for an observation [G * F] of the attached network.

        Raises:
            RuntimeError: If no network was attached.
        """
        view = self.attached()
        for threshold in self._thresholds:
            threshold.attach(view)
        heuristics: list[Heuristic | Privileged] = [*self._plain, *self._thresholds]
        tried = [heuristic.predict(observation)[0] for heuristic in heuristics]
        return tried[int(np.argmax([view.evaluate(ratios) for ratios in tried]))], state
