"""Find out by proofs which options hold where a dimension may lose whole parts or equal shares of them.

Whole parts are tried first, then with attributes of modules that count them (see `counters`). Where that leaves groups
locked, the other options are tried for what is connected with them, and each connected set keeps the option that frees
most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from prune_env.groups.counters import Counters
from prune_env.groups.tracing.equivalence import Classes
from prune_env.groups.tracing.propagation import named_tensors
from prune_env.groups.tracing.shares import OPTIONS, Option
from prune_env.groups.types import Group

Options = Mapping[int, Option]
Described = Callable[[Options], tuple[Classes, list[Group]]]
"""The groups that options lead to, not proved yet."""
Proved = Callable[[Sequence[Group]], list[Group]]
"""The same groups, of which those that fail are locked."""


@dataclass(frozen=True)
class _Attempt:
    """Groups under some options.

    Attributes:
        free: Connected sets in which there was a choice, and their options.
        freed: Elements of tensors that prunable groups of a connected set lie in, by number.
        locked: Connected sets of which a group is locked.
    """

    groups: list[Group]
    free: dict[int, tuple[Option, ...]]
    freed: dict[int, float]
    locked: set[int]

    @classmethod
    def of(cls, model: nn.Module, classes: Classes, groups: list[Group]) -> _Attempt:
        tensors = dict(named_tensors(model))
        freed: dict[int, float] = {}
        locked: set[int] = set()
        for group in groups:
            connected = classes.connected(group)
            if group.kind == "locked":
                locked |= connected
                continue
            size = sum(
                tensors[s.tensor].numel() * s.positions.size / tensors[s.tensor].shape[s.dim] for s in group.slices
            )
            for i in connected:
                freed[i] = freed.get(i, 0.0) + size
        return cls(groups, classes.free, freed, locked)


def best_options(model: nn.Module, described: Described, proved: Proved) -> list[Group]:
    """The groups under the options that free most, all of them proved together."""
    taken: dict[int, Option] = {}
    counters = Counters(model)

    def attempt(options: Options) -> _Attempt:
        classes, groups = described(options)
        return _Attempt.of(model, classes, proved(counters.added(groups)))

    classes, groups = described(taken)
    first = _Attempt.of(model, classes, proved(groups))
    if counters.find(groups, first.groups):
        first = attempt(taken)
        if counters.drop_failed(first.groups):
            first = attempt(taken)
    last, freed, still_locked = first, dict(first.freed), set(first.locked)
    for option in OPTIONS[1:]:
        trial = {i: option for i, options in first.free.items() if i in still_locked and option in options}
        hoped = _Attempt.of(model, *described(taken | trial))
        trial = {i: option for i in trial if hoped.freed.get(i, 0.0) > freed.get(i, 0.0)}
        if not trial:
            continue
        last = attempt(taken | trial)
        better = {i for i in trial if last.freed.get(i, 0.0) > freed.get(i, 0.0)}
        for i in better:
            taken[i], freed[i] = option, last.freed[i]
        still_locked -= better - last.locked
        if better != trial.keys():
            last = attempt(taken) if taken else first
    return last.groups
