"""Apply a function to many items wherever jobs are done, and hand out what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from prune_env.parallel.call import Call, Reply
from prune_env.parallel.engines import Engine, Workers, check_engine, open_workers
from prune_env.parallel.registrations import registrations
from prune_env.parallel.threads import one_thread

Item = TypeVar("Item")
_POLL = 0.2  # how long a message may wait [s]


def map_unordered(
    function: Callable[..., Any],
    items: Iterable[Item],
    jobs: int,
    description: str,
    *,
    engine: Engine = "local",
    files: Callable[[Item], Sequence[Path]] | None = None,
    on_message: Callable[[Item, Any], None] | None = None,
) -> Iterator[Any]:
    """Apply a picklable function to items, and yield the results as they come.

    With one local job everything runs in this process, also with one torch thread. The first exception stops the rest.
    Functions return what is to be kept, and do not write it: a worker may be on another machine.

    Args:
        function: A module-level function of an item; with `on_message`, of an item and a `Send`.
        items: Its arguments.
        jobs: Local processes.
        description: What the progress bar is called.
        engine: Where jobs are done.
        files: Names the files of the cache that the job of an item reads; they are sent to workers elsewhere.
        on_message: Called in this process with an item and what its job sent: each message once and in order, before
            the result, also if the job had to be run again.

    Raises:
        ValueError: If the engine is unknown or not to be reached.
        WorkerLostError: If a worker or the cluster is lost and jobs cannot be run again.
    """
    check_engine(engine)
    items = list(items)
    with tqdm(total=len(items), desc=description, disable=len(items) < 2, dynamic_ncols=True) as bar:
        for result in _results(function, items, jobs, engine, files, on_message):
            yield result
            bar.update()


def _results(
    function: Callable[..., Any],
    items: list[Item],
    jobs: int,
    engine: Engine,
    files: Callable[[Item], Sequence[Path]] | None,
    on_message: Callable[[Item, Any], None] | None,
) -> Iterator[Any]:
    if not items:
        return
    if engine == "local" and (jobs <= 1 or len(items) == 1):
        for item in items:
            with one_thread():
                result = function(item) if on_message is None else function(item, _sender(on_message, item))
            yield result
        return
    known = registrations()
    with open_workers(engine, min(jobs, len(items))) as workers:
        pending = {}
        for number, item in enumerate(items):
            call = Call(number, function, item, on_message is not None, known)
            pending[workers.submit(call, () if files is None else files(item))] = number
        inbox = _Inbox(items, on_message)
        yield from _collect(workers, pending, inbox)


def _sender(on_message: Callable[[Item, Any], None], item: Item) -> Callable[[Any], None]:
    return lambda content: on_message(item, content)


class _Inbox:
    """Hands out every message once and in order; messages of a job that is run again have been seen before."""

    def __init__(self, items: Sequence[Any], on_message: Callable[[Any, Any], None] | None):
        self._items, self._on_message, self._seen = items, on_message, [0] * len(items)

    def take(self, job: int, number: int, content: Any) -> None:
        """A message; one that came too early is dropped, since all come again with the reply."""
        if self._on_message is not None and number == self._seen[job]:
            self._seen[job] += 1
            self._on_message(self._items[job], content)


def _collect(workers: Workers, pending: dict[Future[Reply], int], inbox: _Inbox) -> Iterator[Any]:
    while pending:
        done, _ = wait(pending, timeout=_POLL, return_when=FIRST_COMPLETED)
        for message in workers.received():
            inbox.take(*message)
        for future in done:
            job = pending.pop(future)
            reply = future.result()
            for number, content in enumerate(reply.sent):
                inbox.take(job, number, content)
            yield reply.result
