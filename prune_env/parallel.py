"""Independent work in several processes, one torch thread each, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
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


def map_unordered(
    function: Callable[[Item], Result], items: Iterable[Item], jobs: int, description: str
) -> Iterator[Result]:
    """Apply a picklable function to items in `jobs` processes, and yield the results as they come.

    With one job everything runs in this process. The first exception stops the rest.

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
                yield function(item)
                bar.update()
            return
        # Forking a process whose torch has threads can hang; a fresh interpreter cannot.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(jobs, len(items)), mp_context=context, initializer=single_threaded) as pool:
            futures = [pool.submit(function, item) for item in items]
            try:
                for future in as_completed(futures):
                    yield future.result()
                    bar.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
