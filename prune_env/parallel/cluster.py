"""Jobs on a Dask cluster: local, Slurm, Kubernetes, or whatever else `distributed` reaches."""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

from prune_env.parallel.call import Call, Message, Reply, WorkerLostError
from prune_env.parallel.elsewhere import Blob, Origin, perform_elsewhere

_CONNECT = 10.0  # how long a scheduler may take to answer [s]
_log = logging.getLogger(__name__)


class DaskCluster:
    """The executor of a Dask client; jobs of workers that die are run again, by Dask.

    Args:
        client: A `distributed.Client`.
    """

    def __init__(self, client: Any):
        self._client, self._origin = client, Origin()
        self._executor = client.get_executor(pure=False)
        self._topic = f"prune_env-{uuid4().hex}"
        self._messages: SimpleQueue[Message] = SimpleQueue()
        self._blobs: dict[Path, Any] = {}
        client.subscribe_topic(self._topic, lambda event: self._messages.put(pickle.loads(event[1])))

    def submit(self, call: Call, files: Sequence[Path]) -> Future[Reply]:
        """Give a job to the cluster; every file is sent to the scheduler once, and from there to workers."""
        return self._executor.submit(_work, call, self._origin, self._topic, *map(self._blob, files))

    def received(self) -> Iterator[Message]:
        """Messages that have come since the last call."""
        while True:
            try:
                yield self._messages.get_nowait()
            except Empty:
                return

    def close(self, wait: bool) -> None:
        """Cancel what is left, unless `wait` says that everything is done."""
        self._client.unsubscribe_topic(self._topic)
        self._executor.shutdown(wait=wait)

    def _blob(self, path: Path) -> Any:
        """The file as a result of a task, which Dask makes again if all workers that hold it die."""
        if path not in self._blobs:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Sending large graph")
                self._blobs[path] = self._client.submit(_same, Blob.read(path), pure=False)
        return self._blobs[path]


@contextmanager
def dask_cluster(address: str) -> Iterator[DaskCluster]:
    """The cluster whose scheduler listens at HOST:PORT.

    Raises:
        ImportError: If `distributed` is not installed.
        ValueError: If nobody answers there.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError(
            "a Dask cluster needs the extra 'cluster': pip install 'prune_env[cluster]', here and where workers run"
        ) from error
    try:
        client = Client(f"tcp://{address}", timeout=_CONNECT, set_as_default=False, name="prune_env")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no Dask scheduler answers at {address!r} ({error}); start one with `dask scheduler`, workers with "
            "`dask worker HOST:PORT --nthreads 1`"
        ) from error
    with client, dask_client(client) as cluster:
        yield cluster


@contextmanager
def dask_client(client: Any) -> Iterator[DaskCluster]:
    """The cluster of a `distributed.Client`, which its owner closes.

    Raises:
        WorkerLostError: If the scheduler is lost, or a job ended several workers.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if not workers:
        _log.warning("the Dask cluster %s has no workers yet; jobs wait for them", client.scheduler.address)
    elif (most := max(worker["nthreads"] for worker in workers)) > 1:
        _log.warning("Dask workers have up to %d threads; a worker does one job at a time: use --nthreads 1", most)
    cluster = DaskCluster(client)
    try:
        yield cluster
    except BaseException as error:
        cluster.close(wait=False)
        if type(error).__name__ == "KilledWorker":
            raise WorkerLostError(f"a job ended every worker that tried it: {error}") from error
        if isinstance(error, CancelledError):
            raise WorkerLostError("the Dask scheduler is gone, or has cancelled the jobs; run it again") from error
        raise
    cluster.close(wait=True)


def _same(blob: Blob) -> Blob:
    return blob


def _work(call: Call, origin: Origin, topic: str, *blobs: Blob) -> Reply:
    from distributed import get_worker

    worker = get_worker()

    def deliver(message: Message) -> None:
        worker.log_event(topic, pickle.dumps(message))

    # Dask deletes a worker's folder when the worker ends.
    return perform_elsewhere(call, origin, blobs, deliver, Path(worker.local_directory) / "prune_env")
