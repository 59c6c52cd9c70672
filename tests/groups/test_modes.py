from __future__ import annotations

from typing import Any

import torch
from networks import lin, net, of
from torch import Tensor, nn

from prune_env.groups.tracing.modes import both_modes


def modes_seen(build: Any, batch: int) -> list[bool]:
    """In which modes the network has run, for one call of the trace."""
    model, seen = build(), []
    trace = both_modes(model, lambda m: (seen.append(m.training), m(torch.randn(batch, 4)))[1])
    seen.clear()
    trace(model)
    assert not model.training
    return seen


def test_evaluation_comes_first_and_then_training() -> None:
    assert modes_seen(net(lambda s, x: s.a(x), a=lin(4, 6)), 2) == [False, True]


def test_a_batch_of_one_is_not_normalised_in_training() -> None:
    build = net(lambda s, x: s.n(s.a(x)), a=lin(4, 6), n=of(nn.BatchNorm1d, 6))
    assert modes_seen(build, 1) == [False, True]


def test_a_network_that_cannot_be_traced_in_training_is_only_evaluated() -> None:
    def forward(s: Any, x: Tensor) -> Tensor:
        if s.training:
            raise ValueError("labels are missing")
        return s.a(x)

    assert modes_seen(net(forward, a=lin(4, 6)), 2) == [False]


def test_training_leaves_buffers_as_they_were() -> None:
    build = net(lambda s, x: s.n(s.a(x)), a=lin(4, 6), n=of(nn.BatchNorm1d, 6))
    model = build()
    before = {name: (buffer, buffer.clone()) for name, buffer in model.named_buffers()}
    both_modes(model, lambda m: m(torch.randn(5, 4)))(model)
    for name, buffer in model.named_buffers():
        assert buffer is before[name][0]
        assert torch.equal(buffer, before[name][1])
