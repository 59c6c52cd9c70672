"""Trained networks that are pruned repeatedly in the environment, for studies of the effect of a cut on the score.

Letters: G groups.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from prune_env.benchmark import make_policy
from prune_env.benchmark.rollout import rollout
from prune_env.dense import CheckpointSpec, Pool
from prune_env.envs import PruningEnv
from prune_env.storage import canonical_json
from prune_env.targets import make_target

# Every option that a pool would vary is given, so that networks differ in their seed only.
PENDULUM: dict[str, Any] = {"target": "tdmpc", "width": 64, "latent_dim": 32, "dense_steps": 2000, "starts": 20}
DIGITS: dict[str, Any] = {"target": "autoencoder", "data": "digits", "latent_dim": 16, "dense_steps": 2000}
MNIST: dict[str, Any] = {"target": "autoencoder", "data": "mnist", "latent_dim": 256, "dense_steps": 2000}

AFTER_CUT, AFTER_TUNING = "right after the cut", "after fine-tuning"


@dataclass(frozen=True)
class Outcome:
    """A pruned network on test data.

    Attributes:
        retained: (score - floor) / (dense score - floor), at least -1.
        score: The score at that retained score.
        sparsity: Share of parameters removed.
    """

    retained: float
    score: float
    sparsity: float


class Subject:
    """One dense network, from which every cut starts.

    Args:
        network: Target and options of the environment, as JSON.
        seed: Seed of the network.
    """

    def __init__(self, network: Mapping[str, Any], seed: int):
        self.env = PruningEnv(**network, pool=seed + 1)
        self.seed = seed
        self.begin(0)
        self.floor, self.dense = self.env.network.score_scale("test")

    def begin(
        self, draw: int, *, sparsity: float | None = None, rounds: int = 1, steps: int = 0, **config: Any
    ) -> np.ndarray:
        """Restore the dense network, and return its observation.

        Args:
            draw: Seed of the batches.
            sparsity: Sparsity after the last cut; None leaves it to the actions.
            rounds: Number of cuts.
            steps: Training steps after each cut.
            **config: Further fields of `PruningConfig` for this episode, e.g. criterion and repair.
        """
        # Training may recover a network that is worse than the floor between two cuts, so the episode continues.
        settings = {"budget": sparsity, "rounds": rounds, "steps_per_round": steps, "stop_on_collapse": False}
        observation, _ = self.env.reset(seed=draw, options={"network": self.seed, **settings, **config})
        return observation

    def cut(self, ratios: np.ndarray, draw: int, **settings: Any) -> Outcome:
        """Cut once by ratios [G] of each group's channels; `settings` are those of `begin`."""
        self.begin(draw, **settings)
        self.env.step(ratios)
        return self._outcome()

    def prune(self, policy: str, sparsity: float, draw: int, **settings: Any) -> Outcome:
        """Prune with a policy to a sparsity; `settings` are those of `begin`."""
        observation = self.begin(draw, sparsity=sparsity, **settings)
        rollout(self.env, make_policy(policy, self.env), observation)
        return self._outcome()

    def _outcome(self) -> Outcome:
        episode = self.env.episode
        retained = episode.retained("test")
        return Outcome(retained, self.floor + retained * (self.dense - self.floor), episode.terms.sparsity)


def depends_on(network: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults that decide the rows of a network besides its options, as JSON."""
    return json.loads(_depends_on(canonical_json(network)))


@lru_cache
def _depends_on(network: str) -> str:
    options = json.loads(network)
    target = make_target(options.pop("target"), **options)
    return canonical_json({"settings": target.settings(), "repair": target.repair})


def dense_networks(network: Mapping[str, Any], seed: int) -> tuple[CheckpointSpec, ...]:
    """What `subject` loads: an environment also loads the first network of its pool."""
    options = dict(network)
    specs = [spec for spec, _ in Pool(options.pop("target"), options, seed + 1, "train").specs()]
    return tuple(specs[i] for i in sorted({0, seed}))


def subject(network: Mapping[str, Any], seed: int) -> Subject:
    """The network of these options and this seed; a process caches the last two for its next jobs."""
    return _subject(canonical_json(network), seed)


@lru_cache(maxsize=2)
def _subject(network: str, seed: int) -> Subject:
    return Subject(json.loads(network), seed)
