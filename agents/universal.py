"""A policy over groups in a file of its own: safetensors with a description, loaded without SB3 and without unpickling.

Its weights are shared over groups, so it prunes networks of any number of groups.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor, nn

from prune_env.agents.action_scales import ACTION_SCALES
from prune_env.agents.group_networks import GroupEncoder, GroupOutput
from prune_env.agents.policies import Grouped
from prune_env.envs import PruningEnv, ZooEnv
from prune_env.envs.observation import PRESENT
from prune_env.isolation import isolated
from prune_env.storage import DamagedFileError, check_seal, sealed, write_atomically
from prune_env.validation import Range, check_value

_KEY = "prune_env"  # of the description, in the metadata of safetensors
_LARGEST = 2**20  # bytes of a file


class GroupActor(nn.Module):
    """What chooses actions, of any number of groups.

    Args:
        columns: Columns of the observation.
        hidden: Hidden units.
        squashed: Whether a tanh follows.
    """

    def __init__(self, columns: int, hidden: int, squashed: bool):
        super().__init__()
        self.encoder, self.output, self.squashed = GroupEncoder(columns, hidden), GroupOutput(hidden), squashed

    def forward(self, observations: Tensor) -> Tensor:
        """Actions [B, G] in [-1, 1] for observations [B, G * columns]."""
        actions = self.output(self.encoder(observations))
        return torch.tanh(actions) if self.squashed else actions.clamp(-1.0, 1.0)


class UniversalPolicy:
    """A learned policy for networks of any number of groups, with the `predict` of an SB3 model.

    Args:
        path: Of its file, from `export_policy`.
        env: The environment to act in, with the columns that the policy reads, in their order.

    Raises:
        ValueError: If the environment has other columns.
        DamagedFileError: If the file was changed.
    """

    privileged: ClassVar[bool] = False
    learned: ClassVar[bool] = True

    @isolated()
    def __init__(self, path: Path, env: PruningEnv):
        description, tensors = _read(path)
        columns, read = [column.name for column in env.columns], description["columns"]
        if [name for name in read if name != PRESENT.name] != columns:
            raise ValueError(f"{path} reads the columns {read}; this environment has {columns}")
        self._columns, self._padded = len(columns), read[-1] == PRESENT.name
        self._actor = GroupActor(len(read), description["hidden"], description["squashed"])
        self._actor.load_state_dict(tensors)
        self._scale, self._max_ratio = ACTION_SCALES[description["actions"]], env.max_ratio
        self.made_by: Mapping[str, Any] = description["made_by"]

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """Ratios in [0, max_ratio] for one observation [G * F] or a batch of them."""
        rows = torch.as_tensor(np.atleast_2d(observation), dtype=torch.float32)
        if self._padded:  # it learned on padded observations; here every group is there
            table = rows.reshape(len(rows), -1, self._columns)
            rows = torch.cat([table, torch.ones_like(table[..., :1])], dim=-1).flatten(1)
        with torch.no_grad():
            actions = self._actor(rows).numpy().astype(np.float64)
        ratios = np.clip(self._scale.to_ratios(actions, self._max_ratio), 0.0, self._max_ratio).astype(np.float32)
        return (ratios if np.ndim(observation) > 1 else ratios[0]), state


def load_universal(path: Path, env: PruningEnv) -> UniversalPolicy:
    """Load a policy over groups for an environment; benchmarks load `.safetensors` files by it."""
    return UniversalPolicy(path, env)


def export_policy(
    path: Path, model: BaseAlgorithm, env: PruningEnv | ZooEnv, made_by: Mapping[str, Any], actions: str = "ratio"
) -> Path:
    """Write the actor of a trained model as a file that `UniversalPolicy` reads; returns its path.

    Args:
        path: Where to; ".safetensors" is its suffix.
        model: Trained with a policy over groups without position embeddings.
        env: The environment that it was trained in.
        made_by: How it was trained, as JSON.
        actions: Scale of its actions, a name of `ACTION_SCALES`.

    Raises:
        ValueError: If its policy is no policy over groups, or learned an embedding of each group's position.
    """
    if not isinstance(model.policy, Grouped):
        raise ValueError(f"{type(model.policy).__name__} is no policy over groups: train with policy=GroupPolicy")
    encoder, output, squashed = model.policy.acting()
    if encoder.position_embedding is not None:
        raise ValueError(
            "the policy learned an embedding of each group's position, which fits one kind of network: train it with "
            "policy_kwargs={position_embedding: false}"
        )
    actor = GroupActor(len(env.columns), encoder.together.out_features, squashed)
    actor.encoder, actor.output = encoder, output
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in actor.state_dict().items()}
    description = {
        "columns": [column.name for column in env.columns],
        "hidden": encoder.together.out_features,
        "squashed": squashed,
        "actions": actions,
        "made_by": dict(made_by),
        "sha256": _digest(tensors),
    }
    path = path.with_suffix(".safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save_tensors(tensors, metadata={_KEY: json.dumps(sealed(description), allow_nan=False)}))
    return path


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise ValueError(f"there is no policy {path}")
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST} bytes")
        with safe_open(path, "pt") as file:
            said = (file.metadata() or {}).get(_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if said is None:
            raise ValueError("it is no policy of prune_env")
        description = check_seal(json.loads(said))
        _check(description)
        if description["sha256"] != _digest(tensors):
            raise ValueError("its tensors are not those that were saved")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged ({error}); export the policy again") from error
    return description, tensors


def _check(description: Mapping[str, Any]) -> None:
    check_value("hidden", description["hidden"], int, Range(1, 4096))
    check_value("squashed", description["squashed"], bool)
    check_value("actions", description["actions"], str, tuple(ACTION_SCALES))
    if not isinstance(description["columns"], list) or not description["columns"]:
        raise ValueError(f"columns must be a list of names, got {description['columns']!r}")
    for column in description["columns"]:
        check_value("columns", column, str)
    if not isinstance(description["made_by"], dict):
        raise ValueError(f"made_by must be a dict, got {description['made_by']!r}")


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Checksum of tensors with their names, shapes and types."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
