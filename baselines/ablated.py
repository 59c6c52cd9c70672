"""What a policy reads: the same policy with a part of its observation taken away.

Averaged over networks, columns say what is usual at a group's place, and nothing of the network at hand. Made equal
over groups, they say nothing at all. A policy that does as well either way does not read them.

Letters: G groups, F columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from prune_env.benchmark.policies import make_policy
from prune_env.envs import Column, PruningEnv
from prune_env.envs.observation import SIZE_COLUMNS
from prune_env.open_sets import find
from prune_env.validation import Range, check_value

PARTS: dict[str, Callable[[Column], bool]] = {
    "importance": lambda column: column.relative,
    "sizes": lambda column: column.name in SIZE_COLUMNS,
    "all": lambda column: column.relative or column.name in SIZE_COLUMNS,
}
"""Name of a part of the observation -> whether a column belongs to it."""
_HOW = ("networks", "groups")
_USUAL: dict[str, np.ndarray] = {}  # a benchmark makes a policy anew for every episode


class Ablated:
    """Another policy, whose observation lacks what is specific to the network, or to the group.

    Args:
        env: The environment.
        policy: The policy: a name, with options if it takes some, or the path of a saved one.
        part: What is taken away, a name of `PARTS`.
        how: "networks": columns are averaged over dense training networks; "groups": over the groups of the network.
        networks: How many training networks.

    Raises:
        ValueError: If a name is unknown, or the policy is privileged and reads more than its observation.
    """

    privileged = False

    def __init__(
        self, env: PruningEnv, policy: str = "gradient", part: str = "importance", how: str = "networks",
        networks: int = 24,
    ):  # fmt: skip
        check_value("networks", networks, int, Range(1))
        check_value("how", how, str, _HOW)
        belongs = find("part", part, PARTS)
        self._taken = np.array([belongs(column) for column in env.columns])
        self._policy = make_policy(policy, env)
        if self._policy.privileged:
            raise ValueError(
                f"ablated: {policy!r} is privileged and sees more than observations; choose another policy"
            )
        self.learned = self._policy.learned
        self._how, self._env, self._networks, self._groups = how, env, networks, len(env.group_names)

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """What the policy answers to the ablated observation [G * F], or a batch of them."""
        table = np.array(observation, dtype=np.float32).reshape(-1, self._groups, len(self._taken))
        if self._how == "groups":
            table[..., self._taken] = table[..., self._taken].mean(axis=1, keepdims=True)
        else:
            table[..., self._taken] = self._of_training_networks()[:, self._taken]
        return self._policy.predict(table.reshape(np.shape(observation)), state, episode_start, deterministic)

    def _of_training_networks(self) -> np.ndarray:
        """The mean observation of dense training networks, [G, F]; a process makes it once."""
        config = replace(self._env.config, split="train", pool=self._networks)
        key = repr(config)
        if key not in _USUAL:
            env = PruningEnv(config)
            seen = [env.reset(seed=0, options={"network": i})[0] for i in range(self._networks)]
            _USUAL[key] = np.mean(seen, axis=0).reshape(self._groups, -1)
        return _USUAL[key]
