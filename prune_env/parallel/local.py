"""Jobs in processes of this machine, which end with their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from prune_env.parallel.call import Call, Message, Reply, WorkerLostError, perform
from prune_env.parallel.interrupts import interrupts_blocked
from prune_env.parallel.threads import single_threaded


class LocalProcesses:
    """A process pool, and a queue on which its workers send messages.

    Args:
        pool: Its processes were begun with the queue.
        queue: From workers to this process.
    """

    def __init__(self, pool: ProcessPoolExecutor, queue: SimpleQueue[Message]):
        self._pool, self._queue = pool, queue

    def submit(self, call: Call, files: Sequence[Path]) -> Future[Reply]:
        """Give a job to the pool; its workers read the same files."""
        with interrupts_blocked():  # it may start a process
            return self._pool.submit(_work, call)

    def received(self) -> Iterator[Message]:
        """Messages that have come since the last call."""
        while not self._queue.empty():
            yield self._queue.get()


@contextmanager
def local_processes(workers: int) -> Iterator[LocalProcesses]:
    """Processes, which are ended at once if the block is left by an exception.

    Raises:
        WorkerLostError: If one of them ends before its job is done.
    """
    # Forking a process whose torch has threads can hang; a fresh interpreter cannot.
    context = multiprocessing.get_context("spawn")
    others = multiprocessing.active_children()
    queue: SimpleQueue[Message] = context.SimpleQueue()
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(queue,)) as pool:
        try:
            yield LocalProcesses(pool, queue)
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            # Leaving the pool would wait for its workers; one that has just been started is not in its list yet.
            for worker in multiprocessing.active_children():
                if worker not in others:
                    worker.terminate()
            if isinstance(error, BrokenProcessPool):
                raise WorkerLostError(
                    "a worker process ended before its job was done: it was killed, or there was too little memory for"
                    f" {workers} of them; run it again, with fewer jobs"
                ) from error
            raise


_queue: SimpleQueue[Message] | None = None  # of a worker: to its parent


def _begin(queue: SimpleQueue[Message]) -> None:
    """What a worker does first: an interrupt is its parent's business, and it does not outlive its parent."""
    global _queue
    _queue = queue
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    single_threaded()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # the pool of a parent that was killed cannot end its workers


def _work(call: Call) -> Reply:
    assert _queue is not None
    return perform(call, _queue.put)
