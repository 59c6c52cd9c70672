"""Operators of a long list keep the channels that they must keep; a cut network computes what a masked one does."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from networks import masked, random_inputs, trained
from operator_calls import CALLS, Call

from prune_env.groups import Surgeon, discover


def _ids(call: Call) -> str:
    return call.case.name


@pytest.mark.parametrize("call", [c for c in CALLS if c.channels], ids=_ids)
def test_channels_beside_an_operator_can_be_removed(call: Call) -> None:
    model = trained(call.case)
    grouping = discover(model, call.case.trace, ("a", "b"))
    assert "a" in grouping.names, [(g.name, g.reason) for g in grouping.locked]
    assert grouping["a"].channels == call.channels
    inputs = random_inputs(call.case)
    for left in range(max(1, grouping["a"].least), call.channels):
        keep = torch.ones(int(grouping.widths.sum()), dtype=torch.bool)
        start = int(grouping.widths[: grouping.names.index("a")].sum())
        keep[start + torch.randperm(call.channels, generator=torch.Generator().manual_seed(left))[left:]] = False
        cut, reference = copy.deepcopy(model), masked(model, grouping, keep)
        Surgeon(cut, grouping).cut(keep)
        outputs = [_run(m, inputs) for m in (cut, reference)]
        assert outputs[0].isfinite().all()
        if call.exact:
            torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)


def _run(model: Any, inputs: list[torch.Tensor]) -> torch.Tensor:
    """The output, with noise that does not depend on the width."""
    with torch.no_grad(), _Still():
        return model(*inputs)


class _Still(torch.utils._python_dispatch.TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if torch.Tag.nondeterministic_seeded in func.tags and isinstance(out, torch.Tensor):
            out.fill_(0.5)
        return out


@pytest.mark.parametrize("call", [c for c in CALLS if not c.channels], ids=_ids)
def test_channels_that_an_operator_mixes_are_locked(call: Call) -> None:
    grouping = discover(trained(call.case), call.case.trace, ("a", "b"))
    assert "a" not in grouping.names
    assert call.reason in grouping["a"].reason
