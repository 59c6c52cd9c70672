"""The environments by id, registered with Gymnasium on `import prune_env`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym


def _controller(task: str, obs: str) -> dict[str, Any]:
    return {"target": "tdmpc", "fixed_options": {"task": task, "obs": obs}}


def _autoencoder(data: str) -> dict[str, Any]:
    return {"target": "autoencoder", "fixed_options": {"data": data}}


ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "PruneEnv/Autoencoder-v0": _autoencoder("digits"),
    "PruneEnv/AutoencoderMNIST-v0": _autoencoder("mnist"),
    "PruneEnv/TDMPCPendulum-v0": _controller("pendulum", "state"),
    "PruneEnv/TDMPCPendulumPixels-v0": _controller("pendulum", "pixels"),
    "PruneEnv/TDMPCCartpole-v0": _controller("cartpole-swingup", "state"),
    "PruneEnv/TDMPCCartpolePixels-v0": _controller("cartpole-swingup", "pixels"),
    "PruneEnv/Pruning-v0": {"target": "autoencoder"},
}
"""Id -> default arguments of `PruningEnv`; `PruneEnv/Pruning-v0` is meant for `target="..."` of one's own.

What an id names is in `fixed_options`: Gymnasium would replace registered `target_options` by those of the caller.
"""


def register_environments() -> None:
    """Register all ids; harmless when done again."""
    for env_id, arguments in ENVIRONMENTS.items():
        if env_id not in gym.registry:
            gym.register(env_id, entry_point="prune_env.envs.pruning:PruningEnv", kwargs=arguments)
