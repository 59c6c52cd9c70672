"""Networks of several kinds in one environment, padded to the same number of groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils import EzPickle

from prune_env.dense import Pool
from prune_env.envs.observation import PRESENT, observation_space
from prune_env.envs.pruning import PruningEnv
from prune_env.open_sets import find
from prune_env.validation import Range, check_value

KINDS: dict[str, Mapping[str, Any]] = {
    "autoencoder": {"target": "autoencoder", "data": "digits", "pool_kind": "drawn"},
    "controller": {"target": "tdmpc", "task": "pendulum", "obs": "state", "pool_kind": "drawn"},
    **{name: {"target": name} for name in ("simple", "multipath", "branched", "recursive", "complex-cnn")},
    "tdmpc-style": {"target": "tdmpc-style"},
}
"""Kinds of networks: arguments of `PruningEnv`."""
GROUPS = 16
"""Groups that an observation has room for."""


class ZooEnv(gym.Env, EzPickle):
    """Prune networks of several kinds: every episode draws a kind, then a network of its pool.

    Observations and actions are those of `PruningEnv`, padded with zeros to `GROUPS` groups; the last column of each
    group, `present`, is 1 for groups of the network and 0 for padding. Actions of groups that are absent are ignored.
    Policies over groups (`prune_env.agents.GroupPolicy`) do without the padding, too, and prune any of these networks.

    Args:
        kinds: Names of `KINDS`; by default all.
        leave_out: Kinds that are never drawn, to test a policy on a kind that it has not seen.
        pool: Networks of each kind.
        render_mode: As for `PruningEnv`.
        **arguments: Fields of `PruningConfig` that all kinds share.

    Raises:
        ValueError: If a kind is unknown, none is left, or a network has more than `GROUPS` groups.
    """

    metadata = PruningEnv.metadata

    def __init__(
        self,
        kinds: Sequence[str] = (),
        leave_out: Sequence[str] = (),
        pool: int = 8,
        render_mode: str | None = None,
        **arguments: Any,
    ):
        EzPickle.__init__(self, kinds, leave_out, pool, render_mode, **arguments)
        check_value("pool", pool, int, Range(1))
        for name in (*kinds, *leave_out):
            find("kind", name, KINDS)
        self.kinds = tuple(name for name in kinds or KINDS if name not in leave_out)
        if not self.kinds:
            raise ValueError(f"no kind of network is left: kinds={list(kinds)}, leave_out={list(leave_out)}")
        self._made: dict[str, PruningEnv] = {}
        self._arguments = {"pool": pool, "render_mode": render_mode, **arguments}
        self.render_mode = render_mode
        self._now = self._env(self.kinds[0])
        self.max_ratio, self.columns = self._now.max_ratio, (*self._now.columns, PRESENT)
        self.action_space = Box(0.0, self.max_ratio, (GROUPS,), dtype=np.float32)
        self.observation_space = observation_space(self.columns, GROUPS)

    @property
    def pools(self) -> list[Pool]:
        """The pool of every kind."""
        return [self._env(kind).pool for kind in self.kinds]

    @property
    def group_names(self) -> tuple[str, ...]:
        """Names of the places of groups, [GROUPS]."""
        return tuple(f"group {g}" for g in range(GROUPS))

    @property
    def current(self) -> PruningEnv:
        """The environment of the kind that is being pruned."""
        return self._now

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start from a network of a kind that is drawn, each as often as the others.

        Args:
            seed: Seeds the draw of kinds, and the kind's environment.
            options: `kind` chooses one; the others are those of `PruningEnv.reset`.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        drawn = self.kinds[int(self.np_random.integers(len(self.kinds)))]
        kind = find("kind", given.pop("kind", drawn), dict(zip(self.kinds, self.kinds, strict=True)))
        env = self._env(kind)
        observation, info = env.reset(seed=int(self.np_random.integers(2**31)), options=given)
        self._now = env
        return self._padded(observation), {**info, "kind": kind}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One round, as in `PruningEnv`; `info["kind"]` says of which kind the network is."""
        given = np.asarray(action)
        if given.shape != (GROUPS,):
            wanted = f"({GROUPS},), a pruning ratio for each group"
            raise ValueError(f"the action must have shape {wanted}; got {given.shape}")
        observation, reward, terminated, truncated, info = self._now.step(given[: len(self._now.group_names)])
        kind = next(name for name, env in self._made.items() if env is self._now)
        return self._padded(observation), reward, terminated, truncated, {**info, "kind": kind}

    def render(self) -> Any:
        """What `PruningEnv` shows of the network at hand."""
        return self._now.render()

    def close(self) -> None:
        """Close the environments of all kinds."""
        for env in self._made.values():
            env.close()

    def _env(self, kind: str) -> PruningEnv:
        if kind not in self._made:
            env = PruningEnv(**{**self._arguments, **KINDS[kind]})
            if len(env.group_names) > GROUPS:
                raise ValueError(f"kind {kind!r} has {len(env.group_names)} groups, more than the {GROUPS} of the zoo")
            self._made[kind] = env
        return self._made[kind]

    def _padded(self, observation: np.ndarray) -> np.ndarray:
        columns = len(self.columns) - 1
        table = observation.reshape(-1, columns)
        padded = np.zeros((GROUPS, columns + 1), dtype=np.float32)
        padded[: len(table), :columns] = table
        padded[: len(table), columns] = 1.0
        return padded.reshape(-1)
