"""The environments by id, registered with Gymnasium on `import prune_env`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from prune_env.envs.pruning import PruningEnv

ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "PruneEnv/Autoencoder-v0": {"target": "autoencoder", "data": "digits"},
    "PruneEnv/AutoencoderMNIST-v0": {"target": "autoencoder", "data": "mnist"},
    "PruneEnv/TDMPCPendulum-v0": {"target": "tdmpc", "task": "pendulum", "obs": "state"},
    "PruneEnv/TDMPCPendulumPixels-v0": {"target": "tdmpc", "task": "pendulum", "obs": "pixels"},
    "PruneEnv/TDMPCCartpole-v0": {"target": "tdmpc", "task": "cartpole-swingup", "obs": "state"},
    "PruneEnv/TDMPCCartpolePixels-v0": {"target": "tdmpc", "task": "cartpole-swingup", "obs": "pixels"},
    "PruneEnv/SB3-v0": {"target": "sb3"},
    "PruneEnv/Pruning-v0": {},
    "PruneEnv/Autoencoder-v1": {"target": "autoencoder", "data": "digits", "pool_kind": "drawn"},
    "PruneEnv/TDMPCPendulum-v1": {"target": "tdmpc", "task": "pendulum", "obs": "state", "pool_kind": "drawn"},
}
"""Id -> what it stands for: arguments of `PruningEnv` that must not be contradicted.

`PruneEnv/Pruning-v0` is meant for `target="..."` of one's own. The version of an id rises when other networks, data,
training, costs or defaults would change the scores of the same policy; the old version stays as it is.
"""


ZOO = "PruneEnv/Zoo-v0"
"""Id of the environment with networks of several kinds; it is `ZooEnv`, not `PruningEnv`."""


def register_environments() -> None:
    """Register all ids; harmless when done again."""
    for env_id in ENVIRONMENTS:
        if env_id not in gym.registry:
            gym.register(env_id, entry_point="prune_env.envs.registration:make_env", kwargs={"env_id": env_id})
    if ZOO not in gym.registry:
        gym.register(ZOO, entry_point="prune_env.envs.zoo:ZooEnv")


def make_env(env_id: str, **arguments: Any) -> PruningEnv:
    """The environment of an id; Gymnasium calls this.

    Raises:
        ValueError: If an argument contradicts the id.
    """
    fixed = ENVIRONMENTS[env_id]
    given = {**arguments.get("target_options", {}), **arguments}
    for name in fixed.keys() & given.keys():
        if given[name] != fixed[name]:
            raise ValueError(
                f"{name}={given[name]!r} contradicts the id, which stands for {name}={fixed[name]!r}: take the id of"
                " another environment, or PruneEnv/Pruning-v0"
            )
    return PruningEnv(**{"target": "autoencoder", **arguments, **fixed})
