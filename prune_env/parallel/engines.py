"""Where jobs are done: "local", "dask://HOST:PORT", or any executor of `concurrent.futures`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from prune_env.open_sets import find
from prune_env.parallel.call import Call, Message, Reply
from prune_env.parallel.cluster import dask_client, dask_cluster
from prune_env.parallel.elsewhere import GivenExecutor
from prune_env.parallel.local import local_processes

Engine = str | Executor | Any
""""local", "dask://HOST:PORT", an executor of `concurrent.futures`, or a `distributed.Client`."""


class Workers(Protocol):
    """Where jobs are handed in."""

    def submit(self, call: Call, files: Sequence[Path]) -> Future[Reply]:
        """Hand in a job that reads these files of the cache."""

    def received(self) -> Iterable[Message]:
        """Messages that have come since the last call."""


ENGINES: dict[str, Callable[[str, int], AbstractContextManager[Workers]]] = {
    "local": lambda address, workers: local_processes(workers),
    "dask": lambda address, workers: dask_cluster(address),
}
"""What stands before "://" -> opens a pool, given what stands after it, and the number of local processes."""


def check_engine(engine: Engine) -> None:
    """Raise a ValueError if jobs cannot be done there; nothing is started or reached for."""
    if isinstance(engine, Executor) or hasattr(engine, "get_executor"):
        return
    if not isinstance(engine, str):
        raise ValueError(
            f'engine must be "local", "dask://HOST:PORT", an Executor or a distributed.Client; got {engine!r}'
        )
    name, _, address = engine.partition("://")
    find("engine", name, ENGINES)
    host, _, port = address.rpartition(":")
    if not (engine == "local" if name == "local" else host and port.isdecimal()):
        raise ValueError(f'an engine is "local" or "dask://HOST:PORT", e.g. dask://127.0.0.1:8786; got {engine!r}')


def open_workers(engine: Engine, workers: int) -> AbstractContextManager[Workers]:
    """Where jobs are handed in, for the length of a `with` block.

    Args:
        engine: Where jobs are done.
        workers: Processes, if that is here.
    """
    check_engine(engine)
    if isinstance(engine, Executor):
        return nullcontext(GivenExecutor(engine))
    if not isinstance(engine, str):
        return dask_client(engine)
    name, _, address = engine.partition("://")
    return ENGINES[name](address, workers)
