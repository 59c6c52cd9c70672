"""Attributes of a user's modules that count channels, such as `num_heads`, and have to follow a cut.

A module that splits its channels by such an attribute runs wrongly or not at all when whole parts are removed. So for a
group that fails its proof, integers of the modules around it that equal its width, or the size of a dimension that it
fills, are tried as counters of it; the proof decides.
"""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import nn

from prune_env.groups.types import Counter, Group

_Key = tuple[tuple[str, int, bytes], ...]


class Counters:
    """The counters of all groups of a model that have some."""

    def __init__(self, model: nn.Module):
        self._model = model
        self._known: dict[_Key, tuple[Counter, ...]] = {}

    def find(self, described: Sequence[Group], proved: Sequence[Group]) -> bool:
        """Look for counters of the groups that have failed; returns whether there are any."""
        failed = {group.name for group in proved if group.kind == "locked"}
        found = {g.name: tuple(self._of(g)) for g in described if g.kind != "locked" and g.name in failed}
        claims = Count((c.module, c.name) for counters in found.values() for c in counters)
        for group in described:
            mine = tuple(c for c in found.get(group.name, ()) if claims[c.module, c.name] == 1)
            if mine:
                self._known[_key(group)] = mine
        return bool(self._known)

    def drop_failed(self, proved: Sequence[Group]) -> bool:
        """Where a group has failed again, keep what counts its channels one by one; returns whether that differs."""
        differs = False
        for group in proved:
            counters = self._known.get(_key(group), ())
            if group.kind == "locked" and counters:
                fewer = tuple(c for c in counters if c.per_channel == 1)
                differs |= bool(fewer) and fewer != counters
                self._known[_key(group)] = fewer
        return differs

    def added(self, groups: Sequence[Group]) -> list[Group]:
        """The groups with their counters."""
        return [replace(group, counters=self._known.get(_key(group), ())) for group in groups]

    def _of(self, group: Group) -> Iterator[Counter]:
        sizes = {group.channels: 1}
        for s in group.slices:
            sizes.setdefault(s.positions.size, s.positions.shape[1])
        modules = dict(self._model.named_modules())
        near = dict.fromkeys(name for s in group.slices for name in (s.layer, s.layer.rpartition(".")[0]))
        for path in near:
            module = modules.get(path)
            if module is None or type(module).__module__.startswith("torch."):
                continue
            for name, value in vars(module).items():
                if type(value) is int and value in sizes and not name.startswith("_"):
                    yield Counter(path, name, sizes[value])


def _key(group: Group) -> _Key:
    return tuple((s.tensor, s.dim, s.positions.tobytes()) for s in group.slices)
