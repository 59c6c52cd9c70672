"""One torch thread: small networks gain nothing from more, and more add up in another order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def single_threaded() -> None:
    """One torch thread from now on: processes share the cores."""
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
