"""AMC as its authors built it, privileged: an agent that learns to prune one network, and is thrown away.

He et al. 2018 (arXiv 1802.03494).
"""

from __future__ import annotations

import numpy as np

from prune_env.baselines.allocation import AMOUNT
from prune_env.baselines.amc_environment import GroupwiseEnv
from prune_env.baselines.privileged import Privileged
from prune_env.envs import NetworkView, PruningEnv
from prune_env.isolation import isolated
from prune_env.validation import Range, check_value


class AMC(Privileged):
    """DDPG decides the groups one after another; the best of all its episodes is the answer.

    An episode is one trial cut, and counted. What differs from the paper: a trial is repaired and trained as every
    trial here, the criterion is the environment's, and the cost is exact (see `GroupwiseEnv`, `LayerwiseDDPG`).

    Args:
        env: As for `Privileged`.
        episodes: Episodes of the search; 400 in the paper.
        warmup: Episodes with uniform actions before the agent learns; 100 in the paper.
        amount: As for `Privileged`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, env: PruningEnv, episodes: int = 400, warmup: int = 100, amount: float = AMOUNT):
        super().__init__(env, amount)
        check_value("episodes", episodes, int, Range(1))
        check_value("warmup", warmup, int, Range(0))
        self._episodes, self._warmup = episodes, warmup
        self._seed = 0

    def seed(self, seed: int) -> None:
        """Seed the next search."""
        self._seed = seed

    @isolated()
    def ratios(self, view: NetworkView) -> np.ndarray:
        """The ratios [G] of the best episode."""
        from prune_env.baselines.amc_ddpg import LayerwiseDDPG  # Stable-Baselines3 takes a second to import

        best: list[tuple[float, np.ndarray]] = []

        def keep(widths: np.ndarray, reward: float) -> None:
            if not best or reward > best[0][0]:
                best[:] = [(reward, widths)]

        env = GroupwiseEnv(view, self.cost_target(view), 1.0 - self.max_ratio, keep)
        agent = LayerwiseDDPG(env, self._warmup, int(np.random.default_rng(self._seed).integers(2**31)))
        self._seed += 1
        agent.learn(self._episodes * self.groups)
        return 1.0 - best[0][1] / view.widths
