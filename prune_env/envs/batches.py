"""Training batches of an episode that can go back to a mark, so that a step that raised can be taken again."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch

from prune_env.targets import Target


class Batches:
    """An iterator over a target's batches.

    Batches with `state_dict()` and `load_state_dict(state)` are put back by these. Others, generators mostly, cannot be
    wound back: they are made anew from the generator's first state, and drawn from as often as before the mark, which
    happens only after an error.

    Args:
        target: Whose batches they are.
        generator: What they are drawn with; others may draw from it in between.
    """

    def __init__(self, target: Target, generator: torch.Generator):
        self._target, self._generator = target, generator
        self._start = self._last = generator.get_state()
        self._source: Iterator[Any] | None = target.batches(generator)
        self._drawn = self._marked = 0
        self._between: dict[int, torch.Tensor] = {}  # number of a draw -> state before it, where others had drawn
        self._memory: Any = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._source is None:
            self._source = self._made_again()
        now = self._generator.get_state()
        if not torch.equal(now, self._last):
            self._between[self._drawn] = now
        batch = next(self._source)
        self._last = self._generator.get_state()
        self._drawn += 1
        return batch

    @property
    def _stateful(self) -> bool:
        return hasattr(self._source, "state_dict") and hasattr(self._source, "load_state_dict")

    def mark(self) -> None:
        """Remember where the batches are."""
        self._marked = self._drawn
        if self._stateful:
            state = self._source.state_dict()  # type: ignore[union-attr]
            self._memory = {k: v.clone() if isinstance(v, torch.Tensor) else copy.copy(v) for k, v in state.items()}

    def forget(self) -> None:
        """Let the mark go: nothing is put back to it any more."""
        self._memory = None

    def rewind(self) -> None:
        """Go back to the mark; the generator is put back by whoever owns it."""
        if self._stateful:
            self._source.load_state_dict(self._memory)  # type: ignore[union-attr]
        else:
            self._source = None
        self._drawn = self._marked
        self._between = {number: state for number, state in self._between.items() if number < self._marked}
        self._memory = None

    def _made_again(self) -> Iterator[Any]:
        now = self._generator.get_state()
        self._generator.set_state(self._start)
        try:
            source = self._target.batches(self._generator)
            for number in range(self._drawn):
                if number in self._between:
                    self._generator.set_state(self._between[number])
                next(source)
        finally:
            self._generator.set_state(now)
        return source
