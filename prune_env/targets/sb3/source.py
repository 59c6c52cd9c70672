"""A saved Stable-Baselines3 agent as bytes: which algorithm wrote it, and how it is loaded."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from prune_env.isolation import isolated
from prune_env.storage import expanded

ALGORITHMS: dict[str, tuple[str, ...]] = {
    "sb3_contrib.TQC": ("top_quantiles_to_drop_per_net",),
    "stable_baselines3.SAC": ("target_entropy", "target_update_interval"),
    "stable_baselines3.TD3": ("policy_delay", "target_noise_clip"),
    "stable_baselines3.DQN": ("exploration_fraction", "max_grad_norm"),
    "stable_baselines3.PPO": ("clip_range", "n_epochs"),
    "stable_baselines3.A2C": ("gae_lambda", "n_steps", "normalize_advantage"),
}
"""Algorithms whose agents can be pruned, and the entries of the zip's JSON that tell them apart, which SB3 does not
name in it; the first that has all of them. A DDPG is a TD3 with other constants, see `AgentSource.algorithm`."""
_FOREIGN = ("sb3_contrib.qrdqn", "sb3_contrib.crossq", "sb3_contrib.trpo", "sb3_contrib.ppo_", "recurrent")


@dataclass(frozen=True)
class AgentSource:
    """The zip of a trained agent.

    Attributes:
        name: What it is called in messages.
        content: The zip.
    """

    name: str
    content: bytes

    @classmethod
    def of(cls, agent: Any, trust: bool) -> AgentSource:
        """The zip of an agent object, or of a path.

        Raises:
            ValueError: If there is no such file, it is no agent, or `trust` is False for a file.
        """
        if hasattr(agent, "policy") and hasattr(agent, "save"):
            content = io.BytesIO()
            agent.save(content)
            return cls(f"the {type(agent).__name__} agent", content.getvalue())
        path = expanded(agent)
        if not path.is_file():
            raise ValueError(f"there is no agent {path}: give the path of a zip that model.save(...) of SB3 wrote")
        if not trust:
            raise ValueError(
                f"loading {path} unpickles Python objects, which can run any code: if you made the file, or trust who "
                "did, say so by trust=True (--trust)"
            )
        return cls(str(path), path.read_bytes())

    @cached_property
    def sha256(self) -> str:
        """Of the zip, in hex."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def data(self) -> Mapping[str, Any]:
        """The zip's JSON; nothing is unpickled.

        Raises:
            ValueError: If this is no zip of SB3's.
        """
        try:
            with ZipFile(io.BytesIO(self.content)) as archive:
                data = json.loads(archive.read("data"))
            if not isinstance(data, dict):
                raise ValueError("its data is no JSON object")
        except (BadZipFile, KeyError, ValueError, OSError, EOFError, NotImplementedError) as error:
            raise ValueError(f"{self.name} is no agent of Stable-Baselines3, or damaged: {error}") from error
        return data

    @property
    def algorithm(self) -> str:
        """Module and class that wrote the zip, such as "stable_baselines3.PPO".

        Raises:
            ValueError: If it is none of those that can be pruned.
        """
        policy = self.data.get("policy_class")
        module = str(policy.get("__module__", "")) if isinstance(policy, dict) else ""
        name = next((name for name, signs in ALGORITHMS.items() if all(sign in self.data for sign in signs)), None)
        if name is None or module.startswith(_FOREIGN):
            known = ", ".join([*(path.rpartition(".")[2] for path in ALGORITHMS), "DDPG"])
            raise ValueError(f"{self.name} was written by none of the algorithms whose agents can be pruned: {known}")
        deterministic = self.data.get("policy_delay") == 1 and self.data.get("target_noise_clip") == 0
        return "stable_baselines3.DDPG" if name.endswith("TD3") and deterministic else name

    @property
    def title(self) -> str:
        """The algorithm's name, such as "PPO"."""
        return self.algorithm.rpartition(".")[2]

    def algorithm_class(self) -> Any:
        """The algorithm's class.

        Raises:
            ImportError: If it is one of sb3-contrib and that is not installed.
        """
        module, _, title = self.algorithm.rpartition(".")
        try:
            return getattr(import_module(module), title)
        except ImportError as error:
            raise ImportError(f"{title} needs sb3-contrib ({error}): pip install 'prune_env[contrib]'") from error

    @isolated()  # SB3 seeds the global random states when it loads a model
    def load(self, **attributes: Any) -> Any:
        """The agent on the CPU, with an empty replay buffer of size 1 unless `attributes` say otherwise.

        Raises:
            ValueError: If SB3 cannot load it.
        """
        replay = {"buffer_size": 1} if "buffer_size" in self.data else {}
        try:
            return self.algorithm_class().load(io.BytesIO(self.content), device="cpu", **(replay | attributes))
        except ImportError:
            raise
        except Exception as error:  # unpickling another package's or version's objects may raise anything
            raise ValueError(f"{self.name} cannot be loaded by Stable-Baselines3: {error}") from error


def read_bytes(path: str | Path, what: str) -> bytes:
    """The content of a file.

    Raises:
        ValueError: If there is none.
    """
    path = expanded(path)
    if not path.is_file():
        raise ValueError(f"there is no {what} {path}")
    return path.read_bytes()
