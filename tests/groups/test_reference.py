"""Operator by operator: the dense network with the removed channels left out, computed by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from networks import lin, net
from torch import Tensor

from prune_env.groups.reference import Reference
from prune_env.groups.tracing.propagation import Propagation, counted_depth, decomposed
from prune_env.groups.tracing.randomize import Runner

KEPT = [0, 2]


def on_what_stays(function: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """A function of all channels with the second and fourth of four left out, and of those that stay."""
    model = net(lambda s, x: function(s.a(x)), a=lin(3, 4))().double()
    x = torch.randn(2, 3, dtype=torch.float64)
    with counted_depth(model) as depth, decomposed(), Propagation(model, depth) as dense:
        model(x)
    of_label = dense.ledger.conclude().of_label
    left = np.ones(of_label.max() + 1, dtype=bool)
    left[of_label[dense.seeds["a.weight"][0][0][[1, 3]]]] = False
    reference = Reference(dense.steps, of_label, left, [], precise=True)
    run = Runner(model, lambda m: m(x), random_inputs=False, precise=True)
    return run(reference)[0].detach(), function(model.a(x)[:, KEPT]).detach()


@pytest.mark.parametrize(
    "function",
    [
        lambda h: h.sum(1),
        lambda h: h.mean(1),
        lambda h: h.var(1),
        lambda h: h.std(1, keepdim=True),
        lambda h: h.amax(1),
        lambda h: h.norm(dim=1),
        lambda h: h.exp().logsumexp(1),
        lambda h: h.sigmoid() @ h.sigmoid().t(),
        lambda h: torch.cat([h, h], 1).square().mean(1),
        lambda h: torch.cdist(h, h.flip(0)),
    ],
    ids=["sum", "mean", "var", "std", "amax", "norm", "logsumexp", "product", "mean of a concatenation", "distance"],
)
def test_what_combines_channels_leaves_out_the_removed(function: Callable[[Tensor], Tensor]) -> None:
    got, wanted = on_what_stays(function)
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(
    "function",
    [
        lambda h: h.softmax(1),
        lambda h: torch.nn.functional.layer_norm(h, h.shape[1:]),
        lambda h: h * h.mean(1, keepdim=True),
    ],
    ids=["softmax", "layer norm", "product with the mean"],
)
def test_what_keeps_channels_is_right_where_they_stay(function: Callable[[Tensor], Tensor]) -> None:
    got, wanted = on_what_stays(function)
    torch.testing.assert_close(got[:, KEPT], wanted)
