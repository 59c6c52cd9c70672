"""What holds for every network: its groups, its cuts, its costs, its training and its way back."""

from __future__ import annotations

import copy
from collections import Counter

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from networks import masked
from random_networks import Drawn, networks
from test_against_torch_pruning import assert_same_cut
from test_surgery import assert_equal, everything, random_keep

from prune_env.groups import CostModel, Surgeon, count_cost, discover

CHECKS = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def check(drawn: Drawn) -> None:
    model = drawn.network
    grouping = discover(model, drawn.trace, drawn.components)
    assert Counter((tuple(sorted(group.members)), group.channels) for group in grouping) == drawn.expected
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    surgeon, predict = Surgeon(model, grouping, [optimizer]), CostModel(model, grouping, drawn.trace)
    train(drawn, optimizer)
    snapshot, before = surgeon.snapshot(), everything(model, optimizer)
    keep = random_keep(surgeon)
    reference = masked(model, grouping, keep)
    if len(grouping) and all(group.found_by == "torch-pruning" for group in grouping):
        assert_same_cut(drawn, copy.deepcopy(model), grouping, keep)
    surgeon.cut(keep)
    inputs = [torch.randn(shape) for shape in drawn.shapes]
    if drawn.exact:
        for ours, theirs in zip(model(*inputs), reference(*inputs), strict=True):
            torch.testing.assert_close(
                ours, theirs, rtol=1e-3, atol=1e-4 * max(1.0, float(theirs.detach().abs().max()))
            )
    assert predict(surgeon.widths.numpy()) == count_cost(model, drawn.trace)
    train(drawn, optimizer)
    surgeon.cut(random_keep(surgeon, seed=1))
    train(drawn, optimizer)
    assert predict(surgeon.widths.numpy()) == count_cost(model, drawn.trace)
    surgeon.restore(snapshot)
    assert_equal(everything(model, optimizer), before)


def train(drawn: Drawn, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    loss = sum(output.tanh().sum() for output in drawn.network(*(torch.randn(shape) for shape in drawn.shapes)))
    if isinstance(loss, torch.Tensor) and loss.requires_grad:
        loss.backward()
        optimizer.step()


@settings(CHECKS, max_examples=60)
@given(drawn=networks())
def test_sixty_random_networks(drawn: Drawn) -> None:
    check(drawn)


@pytest.mark.slow
@settings(CHECKS, max_examples=600)
@given(drawn=networks(most=20))
def test_six_hundred_random_networks(drawn: Drawn) -> None:
    check(drawn)
