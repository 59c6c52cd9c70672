"""Whether the cut network computes what it should: an independent comparison with the dense one, group by group.

Three references, from the strongest to the weakest; a group needs one, and the table says which:

- masked: in the dense network every entry of the removed channels is zero. Exact but for statistics over channels.
- duplicated: each removed channel produces what a kept one produces, and nobody reads it. Exact for means and variances
  over channels (LayerNorm, RMSNorm, GroupNorm), which do not change where every kept channel has one duplicate.
- two steps: a cut in two steps gives what one step gives.

The last two use the positions that the group claims on both sides, so they cannot see channels that are paired wrongly.
They count only if permuting the channels leaves the dense network's outputs as they are, for a transposition and for a
cycle: a wrong pairing of three or more channels does not commute with both. With two channels it does, so such a group
that is not like the masked network is "unproved".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from zoo import Trace, tensors

from prune_env.groups import Group, Grouping, Surgeon

TOLERANCE = 1e-4
"""Largest difference, as a share of the largest that masking the channels makes in the same output."""


class Comparison:
    """One model with everything that a comparison needs.

    Args:
        model: The dense model; it is cut and restored.
        trace: Runs one sample through it.
        grouping: Its groups.
        precise: Whether it computes in double precision.
    """

    def __init__(self, model: nn.Module, trace: Trace, grouping: Grouping, precise: bool = True):
        self.rounding = 1e-9 if precise else 1e-5
        self.model, self.trace, self.grouping = model, trace, grouping
        self.surgeon = Surgeon(model, grouping)
        self.snapshot = self.surgeon.snapshot()
        self.dense = self.run()

    def run(self) -> list[Tensor]:
        """The outputs of the model as it is now; random draws are the same every time."""
        torch.manual_seed(0)
        with torch.no_grad():
            return [t.clone() for t in tensors(self.trace(self.model))]

    def verdict(self, group: Group) -> str:
        """The reference that the group's cut agrees with: "masked", "duplicated", "two steps"; or "wrong: " and why.

        "unproved" if it has two channels and is not like the masked network;
        "insensitive" if masking half of its channels changes no output, in four draws.
        """
        if group.channels <= group.least:
            return "nothing to cut"
        for seed in range(4):  # rectified units may be dead for this sample: another half then
            order = np.random.default_rng(seed).permutation(group.channels)
            stays = np.sort(order[: max(group.least, group.channels // 2)])
            goes = np.sort(order[len(stays) :])
            with self.entries(group, stays, goes, "masked"):
                masked = self.run()
            scales = [_largest(a, b) for a, b in zip(self.dense, masked, strict=True)]
            if max(scales, default=0.0) > 0:
                break
        else:
            return "insensitive"
        try:
            cut = self.cut(group, stays)
        except Exception as error:
            return f"wrong: the cut network fails: {type(error).__name__}: {error}"
        if not all(bool(t.isfinite().all()) for t, d in zip(cut, self.dense, strict=True) if d.isfinite().all()):
            return "wrong: values are not finite"
        if self.same(cut, masked, scales):
            return "masked"
        if group.channels < 3:
            return "unproved"
        if not self.indifferent(group, scales):
            return "wrong: its channels do not belong together"
        if len(stays) == len(goes):
            with self.entries(group, stays, goes, "duplicated"):
                if self.same(cut, self.run(), scales):
                    return "duplicated"
        return "two steps" if self.in_two_steps(group, stays, goes, cut, scales) else "wrong: values differ"

    def indifferent(self, group: Group, scales: list[float]) -> bool:
        """Whether the order of the channels changes no output: a transposition and a cycle make all orders."""
        every = np.arange(group.channels)
        for order in (np.r_[1, 0, every[2:]], np.roll(every, 1)):
            with self.entries(group, order, every, "permuted"):
                if not self.same(self.dense, self.run(), scales):
                    return False
        return True

    def in_two_steps(
        self, group: Group, stays: np.ndarray, goes: np.ndarray, cut: list[Tensor], scales: list[float]
    ) -> bool:
        """Whether two cuts do what one does."""
        first = np.sort(np.concatenate([stays, goes[: len(goes) // 2]]))
        self.keep(group, np.isin(np.arange(group.channels), first))
        self.keep(group, np.isin(first, stays))
        twice = self.run()
        self.surgeon.restore(self.snapshot)
        return self.same(cut, twice, scales)

    def cut(self, group: Group, stays: np.ndarray) -> list[Tensor]:
        """Outputs of the model that has lost all other channels of the group; the cut is undone."""
        try:
            self.keep(group, np.isin(np.arange(group.channels), stays))
            return self.run()
        finally:
            self.surgeon.restore(self.snapshot)

    def keep(self, group: Group, mask: np.ndarray) -> None:
        """Cut one group by a mask over its present channels."""
        widths = self.surgeon.widths.tolist()
        masks = [
            torch.from_numpy(mask) if other is group else torch.ones(n, dtype=torch.bool)
            for other, n in zip(self.grouping.groups, widths, strict=True)
        ]
        self.surgeon.cut(torch.cat(masks))

    def same(self, one: list[Tensor], other: list[Tensor], scales: list[float]) -> bool:
        """Whether two runs return the same, measured by what masking changes."""
        if [t.shape for t in one] != [t.shape for t in other]:
            return False
        return all(
            _largest(a, b) <= TOLERANCE * scale + self.rounding * float(b.abs().nan_to_num().max() if b.numel() else 0)
            for a, b, scale in zip(one, other, scales, strict=True)
        )

    @contextmanager
    def entries(self, group: Group, stays: np.ndarray, goes: np.ndarray, how: str) -> Iterator[None]:
        """The dense network with other entries for the channels that go, while the context lasts."""
        named = {**dict(self.model.named_parameters(remove_duplicate=False)), **dict(self.model.named_buffers())}
        for path, module in self.model.named_modules():  # constants among the attributes
            named.update({f"{path}.{k}".lstrip("."): t for k, t in vars(module).items() if isinstance(t, Tensor)})
        before = {s.tensor: named[s.tensor].detach().clone() for s in group.slices}
        done = set()
        with torch.no_grad():
            for s in group.slices:
                tensor = named[s.tensor]
                if (tensor.data_ptr(), s.dim, s.positions.tobytes()) in done:  # tied parameters have several names
                    continue
                done.add((tensor.data_ptr(), s.dim, s.positions.tobytes()))
                gone = torch.from_numpy(s.positions[goes].ravel())
                if how == "permuted" or (how == "duplicated" and s.role == "out"):
                    values = tensor.index_select(s.dim, torch.from_numpy(s.positions[stays].ravel()))
                    tensor.index_copy_(s.dim, gone, values)
                elif isinstance(tensor, nn.Parameter):
                    tensor.index_fill_(s.dim, gone, 0.0)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, values in before.items():
                    named[name].copy_(values)


def _largest(one: Tensor, other: Tensor) -> float:
    """The largest difference of two outputs of one shape."""
    if one.shape != other.shape:
        return float("inf")
    if not one.numel():
        return 0.0
    return float((one.double() - other.double()).abs().nan_to_num(0.0, 0.0, 0.0).max())
