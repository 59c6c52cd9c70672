"""The environments by id, registered with Gymnasium on `import prune_env`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "PruneEnv/Autoencoder-v0": {"target": "autoencoder", "data": "digits"},
    "PruneEnv/AutoencoderMNIST-v0": {"target": "autoencoder", "data": "mnist"},
    "PruneEnv/Pruning-v0": {"target": "autoencoder"},
}
"""Id -> default arguments of `PruningEnv`; `PruneEnv/Pruning-v0` is meant for `target="..."` of one's own."""


def register_environments() -> None:
    """Register all ids; harmless when done again."""
    for env_id, arguments in ENVIRONMENTS.items():
        if env_id not in gym.registry:
            gym.register(env_id, entry_point="prune_env.envs.pruning:PruningEnv", kwargs=arguments)
