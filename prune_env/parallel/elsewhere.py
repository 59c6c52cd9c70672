"""Jobs in workers that share neither files nor versions with their parent: what they bring with them, and check."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from prune_env.parallel.call import Call, Message, Reply, WorkerLostError, perform
from prune_env.storage import cache_folder, write_atomically

# Jobs set the number of torch threads and keep networks for the next job: a worker with several threads takes turns.
_ONE_JOB_AT_A_TIME = threading.Lock()
_SAME = ("prune_env", "torch")  # other versions make other results


@dataclass(frozen=True)
class Blob:
    """A file of the parent's cache, as it travels.

    Attributes:
        name: Its path in the cache.
        content: All of it.
    """

    name: str
    content: bytes = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Blob:
        """A file of this process's cache.

        Raises:
            ValueError: If it lies elsewhere.
        """
        return cls(path.relative_to(cache_folder()).as_posix(), path.read_bytes())

    def unpack(self) -> None:
        """Put it into the cache of this process, unless it is there."""
        path = cache_folder() / self.name
        if not path.is_file() or path.read_bytes() != self.content:
            write_atomically(path, self.content)


@dataclass(frozen=True)
class Origin:
    """Who sends jobs: its process, and the versions of packages that decide results."""

    process: tuple[str, int] = field(default_factory=lambda: (socket.gethostname(), os.getpid()))
    versions: tuple[str, ...] = field(default_factory=lambda: tuple(map(version, _SAME)))

    @property
    def is_here(self) -> bool:
        """Whether this is the process."""
        return self.process == Origin().process

    def check_versions(self) -> None:
        """Raise a WorkerLostError if this process has other versions."""
        for name, theirs, ours in zip(_SAME, self.versions, Origin().versions, strict=True):
            if theirs != ours:
                raise WorkerLostError(
                    f"the worker on {socket.gethostname()} has {name} {ours}, but the jobs come from {name} {theirs}: "
                    "install the same version everywhere"
                )


def perform_elsewhere(
    call: Call,
    origin: Origin,
    blobs: Sequence[Blob],
    deliver: Callable[[Message], None] | None = None,
    cache: Path | None = None,
) -> Reply:
    """Do a job in a process that the parent did not start.

    Args:
        call: What to do.
        origin: Who sent it.
        blobs: Files that it reads.
        deliver: Takes messages to the parent at once.
        cache: Cache of this process, unless PRUNE_ENV_CACHE names one.

    Raises:
        WorkerLostError: If versions differ.
    """
    with _ONE_JOB_AT_A_TIME:
        if not origin.is_here:
            origin.check_versions()
            if cache is not None:
                os.environ.setdefault("PRUNE_ENV_CACHE", str(cache))
            for blob in blobs:
                blob.unpack()
        return perform(call, deliver)


class GivenExecutor:
    """Any executor of `concurrent.futures`; files travel with every job, and messages come with the reply.

    Args:
        executor: Its owner shuts it down.
    """

    def __init__(self, executor: Executor):
        self._executor, self._origin = executor, Origin()

    def submit(self, call: Call, files: Sequence[Path]) -> Future[Reply]:
        """Give a job to the executor."""
        return self._executor.submit(perform_elsewhere, call, self._origin, [Blob.read(path) for path in files])

    def received(self) -> Sequence[Message]:
        """Nothing: messages come with the reply."""
        return ()
