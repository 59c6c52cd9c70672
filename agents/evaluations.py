"""The learning curve of an agent in training: `evaluations.npz`, as Stable-Baselines3's EvalCallback names it.

Letters: E evaluations, M episodes of each.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from prune_env.storage import DamagedFileError, check_archive, write_atomically

FILE_NAME = "evaluations.npz"


@dataclass(frozen=True)
class Evaluations:
    """Returns of an agent in the evaluations during its training.

    Attributes:
        timesteps: Steps of training before each evaluation, int [E], ascending.
        results: Returns of the episodes, [E, M].
        lengths: Their lengths [steps], int [E, M].
    """

    timesteps: np.ndarray
    results: np.ndarray
    lengths: np.ndarray

    def __post_init__(self) -> None:
        counts = (self.timesteps, self.lengths)
        if any(array.dtype.kind not in "iuf" for array in (*counts, self.results)):
            raise ValueError("timesteps, results and ep_lengths must be numbers")
        if self.timesteps.ndim != 1 or self.results.ndim != 2 or self.results.shape != self.lengths.shape:
            raise ValueError("timesteps must be [E], results and ep_lengths [E, M]")
        if len(self.timesteps) != len(self.results):
            raise ValueError(f"{len(self.timesteps)} timesteps for {len(self.results)} evaluations")
        if not all(np.isfinite(array).all() for array in (*counts, self.results)):
            raise ValueError("timesteps, results and ep_lengths must be finite")
        if (self.timesteps < 0).any() or (np.diff(self.timesteps) <= 0).any() or (self.lengths < 1).any():
            raise ValueError("timesteps must ascend from 0, and lengths be at least 1")

    def write(self, path: Path) -> None:
        """Write the file atomically, with a checksum beside the arrays that EvalCallback writes."""
        content = io.BytesIO()
        np.savez(content, checksum=np.array(self._checksum()), **self._arrays())  # type: ignore[arg-type]
        write_atomically(path, content.getvalue())

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"timesteps": self.timesteps, "results": self.results, "ep_lengths": self.lengths}

    def _checksum(self) -> str:
        text = repr([(name, array.tolist()) for name, array in self._arrays().items()])
        return hashlib.sha256(text.encode()).hexdigest()


def read_evaluations(path: Path) -> Evaluations:
    """Read a learning curve that `Evaluations.write` wrote; nothing is unpickled.

    Raises:
        DamagedFileError: If it does not hold a learning curve, or was changed.
        OSError: If it cannot be read.
    """
    try:
        with ZipFile(path) as archive:
            check_archive(archive, path.stat().st_size)
        with np.load(path, allow_pickle=False) as file:
            stored: dict[str, Any] = {name: file[name] for name in ("timesteps", "results", "ep_lengths")}
            checksum = str(file["checksum"])
        found = Evaluations(stored["timesteps"], stored["results"], stored["ep_lengths"])
        if checksum != found._checksum():
            raise ValueError("its checksum does not fit")
    except (ValueError, KeyError, TypeError, EOFError, BadZipFile, MemoryError, NotImplementedError) as error:
        raise DamagedFileError(
            f"{path} is not an evaluations.npz of EvalCallback, or damaged ({error}); delete it: the next training "
            "writes another one"
        ) from error
    return found
