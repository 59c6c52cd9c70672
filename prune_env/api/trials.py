"""Networks that are tried: every one an episode of the environment, and only the best one is remembered."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from tqdm import tqdm

from prune_env.api.report import Trial
from prune_env.benchmark.policies import make_policy
from prune_env.benchmark.rollout import begin, rollout
from prune_env.dense.train_state import Memory
from prune_env.envs import PruningEnv

TOLERANCE = 0.02
"""How far below the largest sparsity that keeps the quality bisection may end."""
MOST_POLICIES = 3
"""How many policies, the best of the first budget, bisection tries at each further one."""


class Trials:
    """Episodes of one environment, all with the same batches.

    Args:
        env: On one network.
        seed: Of batches and of random policies.
        bar: Shows each trial.

    Attributes:
        done: All trials so far.
        best: The one that was adopted last, and its network.
    """

    def __init__(self, env: PruningEnv, seed: int, bar: tqdm):
        self._env, self._seed, self._bar = env, seed, bar
        self.done: list[Trial] = []
        self.best: tuple[Trial, Memory] | None = None

    def run(self, policy: str, budget: float, keep: float | None = None) -> Trial:
        """Let a policy prune the dense network to a budget."""
        begun, env = time.perf_counter(), self._env
        made = make_policy(policy, env)
        rollout(env, made, begin(env, made, 0, budget, self._seed))
        terms = env.episode.terms
        kept = keep is None or terms.retained >= keep
        seconds = time.perf_counter() - begun
        sparsity = terms.budget_sparsity
        trial = Trial(policy, budget, sparsity, terms.retained, env.episode.trial_cuts, seconds, kept)
        self.done.append(trial)
        self._bar.update()
        self._bar.set_postfix_str(f"{policy}: sparsity {sparsity:.2f}, R {terms.retained:.3f}")
        return trial

    def adopt(self, trial: Trial) -> None:
        """Remember the network of the last trial."""
        self.best = trial, self._env.network.train_state.snapshot()


def to_budget(trials: Trials, policies: Sequence[str], budget: float) -> None:
    """Try every policy at one budget, and adopt the one with the largest retained score."""
    for policy in policies:
        trial = trials.run(policy, budget)
        if trials.best is None or trial.retained > trials.best[0].retained:
            trials.adopt(trial)


def to_keep(trials: Trials, policies: Sequence[str], keep: float, deepest: float) -> None:
    """Find the largest sparsity at which the retained score stays above `keep`, by bisection; adopt its network.

    All policies are tried at the first budget; at the others the best of them one after the other, until one keeps
    the quality. If none ever does, nothing is adopted.

    Args:
        trials: Where networks are tried.
        policies: Candidates.
        keep: Least retained score.
        deepest: Largest sparsity that there is.
    """
    low, high = 0.0, deepest
    ranking = list(policies)
    while high - low > TOLERANCE or not trials.done:
        middle = (low + high) / 2
        first = not trials.done
        tried = []
        for policy in ranking if first else ranking[:MOST_POLICIES]:
            tried.append(trials.run(policy, middle, keep))
            if tried[-1].kept and (trials.best is None or _better(tried[-1], trials.best[0])):
                trials.adopt(tried[-1])
            if tried[-1].kept and not first:
                break
        if first:
            ranking = [trial.policy for trial in sorted(tried, key=lambda trial: -trial.retained)]
        if kept := [trial.sparsity for trial in tried if trial.kept]:
            low = max(middle, *kept)
        else:
            high = middle


def _better(trial: Trial, best: Trial) -> bool:
    return (trial.sparsity, trial.retained) > (best.sparsity, best.retained)


def kept_channels(memory: Memory | None, channels: int) -> torch.Tensor:
    """Dense numbers of the channels that stay in a network that was adopted; all without one, int64 [W]."""
    return torch.arange(channels) if memory is None else memory.surgeon.present.clone()
