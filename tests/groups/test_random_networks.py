"""What holds for every network: its groups, its cuts, its costs, its training and its way back."""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from networks import masked
from random_networks import Drawn, networks
from test_against_torch_pruning import assert_same_cut
from test_surgery import assert_equal, everything

from prune_env.groups import CostModel, Grouping, Surgeon, count_cost, discover

CHECKS = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
PARTS, EACH = 40, 50  # 2,000 networks, in parts that run side by side


def check(drawn: Drawn) -> None:
    model = drawn.network
    grouping = discover(model, drawn.trace, drawn.components)
    found = Counter((tuple(sorted(group.members)), group.channels) for group in grouping)
    assert found == drawn.expected if drawn.sure else found <= drawn.expected
    check_values(drawn, grouping)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    surgeon, predict = Surgeon(model, grouping, [optimizer]), CostModel(model, grouping, drawn.trace)
    train(drawn, optimizer)
    snapshot, before = surgeon.snapshot(), everything(model, optimizer)
    keep = some(grouping, seed=0)
    if len(grouping) and all(group.found_by == "torch-pruning" for group in grouping):
        assert_same_cut(drawn, copy.deepcopy(model), grouping, keep)
    surgeon.cut(keep)
    assert predict(surgeon.widths.numpy()) == count_cost(model, drawn.trace)
    train(drawn, optimizer)
    surgeon.restore(snapshot)
    assert_equal(everything(model, optimizer), before)


def check_values(drawn: Drawn, grouping: Grouping) -> None:
    """Cut networks compute what the drawn steps say, and where that is exact what the masked dense network does."""
    for cut in (at_least, lambda g: some(g, seed=1), lambda g: some(g, seed=2)):
        keep = cut(grouping)
        model = copy.deepcopy(drawn.network).double()
        model.still = True
        dense, channels = copy.deepcopy(model), drawn.cut(grouping, keep)
        inputs = [torch.randn(shape, dtype=torch.float64) for shape in drawn.shapes]
        Surgeon(model, grouping).cut(keep)
        if drawn.exact:
            assert_same(model.eval()(*inputs), masked(dense, grouping, keep).eval()(*inputs))
        for training in (False, True):
            ours = model.train(training)(*inputs)
            with torch.no_grad():
                assert_same(ours, dense.train(training).reference(inputs, channels))


def at_least(grouping: Grouping) -> torch.Tensor:
    """One channel of each group, or as many as it must keep."""
    return torch.cat([torch.arange(0), *(torch.randperm(g.channels) < g.least for g in grouping)]).bool()


def some(grouping: Grouping, seed: int) -> torch.Tensor:
    """A random number of channels of each group."""
    random = np.random.default_rng(seed)
    counts = [int(random.integers(g.least, g.channels + 1)) for g in grouping]
    return torch.cat(
        [torch.arange(0), *(torch.randperm(g.channels) < n for g, n in zip(grouping, counts, strict=True))]
    ).bool()


def assert_same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> None:
    for x, y in zip(ours, theirs, strict=True):
        assert x.shape == y.shape
        same = (x == y) | ((x - y).abs() <= 1e-7 * y.abs() + 1e-9)
        assert bool(same.all()), f"off by {(x - y)[~same].abs().max()}"


def train(drawn: Drawn, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    outputs = drawn.network(*(torch.randn(shape) for shape in drawn.shapes))
    loss = sum(output[:, 1:].tanh().sum() for output in outputs)  # the first channel may be masked
    if isinstance(loss, torch.Tensor) and loss.requires_grad:
        loss.backward()
        optimizer.step()


@settings(CHECKS, max_examples=60)
@given(drawn=networks())
def test_sixty_random_networks(drawn: Drawn) -> None:
    check(drawn)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_two_thousand_random_networks(part: int) -> None:
    @seed(part)
    @settings(CHECKS, derandomize=False, max_examples=EACH, phases=[Phase.generate])
    @given(drawn=networks(most=20))
    def run(drawn: Drawn) -> None:
        check(drawn)

    run()
