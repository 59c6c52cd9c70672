"""Independent work in several processes, one torch thread each, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TypeVar

import torch
from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def single_threaded() -> None:
    """One torch thread: small networks gain nothing from more, and processes share the cores."""
    torch.set_num_threads(1)


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread within, and the caller's number of them afterwards; also a decorator.

    More threads add up in another order, so that results would depend on who asks for them.
    """
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def map_unordered(
    function: Callable[[Item], Result], items: Iterable[Item], jobs: int, description: str
) -> Iterator[Result]:
    """Apply a picklable function to items in `jobs` processes, and yield the results as they come.

    With one job everything runs in this process, also with one torch thread. The first exception stops the rest.

    Args:
        function: A module-level function.
        items: Its arguments.
        jobs: Processes.
        description: What the progress bar is called.
    """
    items = list(items)
    bar = tqdm(total=len(items), desc=description, disable=len(items) < 2, dynamic_ncols=True)
    with bar:
        if jobs <= 1 or len(items) <= 1:
            for item in items:
                with one_thread():
                    result = function(item)
                yield result
                bar.update()
            return
        # Forking a process whose torch has threads can hang; a fresh interpreter cannot.
        context = multiprocessing.get_context("spawn")
        others = multiprocessing.active_children()
        with ProcessPoolExecutor(min(jobs, len(items)), mp_context=context, initializer=_begin) as pool:
            try:
                futures = [pool.submit(function, item) for item in items]
                for future in as_completed(futures):
                    yield future.result()
                    bar.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                # Leaving the pool would wait for its workers; one that has just been started is not in its list yet.
                for worker in multiprocessing.active_children():
                    if worker not in others:
                        worker.terminate()
                raise


def _begin() -> None:
    """What a worker does first: an interrupt is its parent's business, and it does not outlive its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    single_threaded()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # the pool of a parent that was killed cannot end its workers
