"""One job on its way: what is sent to a worker, what the worker does with it, and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from prune_env.parallel.registrations import Registration, import_registrations
from prune_env.parallel.threads import one_thread

Send = Callable[[Any], None]
"""Sends something to the parent while the job still runs."""


class WorkerLostError(RuntimeError):
    """A worker, or the way to it, is gone, so that a job has no result; the message says what can be done."""


class Message(NamedTuple):
    """What a job sent.

    Attributes:
        job: Number of the job.
        number: How many messages of this job came before.
        content: Anything that can be pickled.
    """

    job: int
    number: int
    content: Any


class Reply(NamedTuple):
    """What comes back from a job: its result, and all that it sent, for the case that the parent has not seen it."""

    sent: list[Any]
    result: Any


@dataclass(frozen=True)
class Call:
    """One job on its way to a worker.

    Attributes:
        number: Tells it from the others.
        function: A module-level function of the item, or, if `sends`, of the item and a `Send`.
        item: Its argument.
        sends: Whether the function takes a `Send`.
        registrations: What the parent has registered in open sets.
    """

    number: int
    function: Callable[..., Any]
    item: Any
    sends: bool
    registrations: tuple[Registration, ...] = ()


def perform(call: Call, deliver: Callable[[Message], None] | None = None) -> Reply:
    """Do a job, with one torch thread.

    Args:
        call: What to do.
        deliver: Takes messages to the parent at once; without it they come with the reply.
    """
    sent: list[Any] = []

    def send(content: Any) -> None:
        if deliver is not None:
            deliver(Message(call.number, len(sent), content))
        sent.append(content)

    with one_thread():
        import_registrations(call.registrations)
        result = call.function(call.item, send) if call.sends else call.function(call.item)
    return Reply(sent, result)
