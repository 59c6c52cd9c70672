from __future__ import annotations

import numpy as np
import pytest
import torch
from constructs import BY_NAME, CASES, grouping_of
from networks import Case, conv, lin, net, of, trained
from test_surgery import random_keep
from torch import nn

from prune_env.groups import CostModel, Surgeon, count_cost


def test_linear_by_hand() -> None:
    model = net(lambda s, x: s.b(s.a(x)), a=lin(4, 6), b=lin(6, 3))()
    cost = count_cost(model, lambda m: m(torch.zeros(1, 4)))
    assert cost.parameters == 4 * 6 + 6 + 6 * 3 + 3
    assert cost.macs == 4 * 6 + 6 * 3


def test_convolution_by_hand() -> None:
    model = net(
        lambda s, x: s.d(s.c(s.b(s.a(x)))),
        a=conv(2, 6),
        b=conv(6, 6, groups=6),
        c=lambda: nn.ConvTranspose2d(6, 3, 2, stride=2, bias=False),
        d=of(nn.BatchNorm2d, 3),
    )()
    cost = count_cost(model, lambda m: m(torch.zeros(1, 2, 4, 5)))
    assert cost.parameters == 2 * 6 * 9 + 6 + 6 * 9 + 6 + 6 * 3 * 4 + 3 + 3
    assert cost.macs == (2 * 6 * 9 + 6 * 9) * 20 + 6 * 3 * 4 * 20


def test_a_layer_counts_as_often_as_it_runs() -> None:
    model = net(lambda s, x: s.a(s.a(x)), a=lin(4, 4))()
    assert count_cost(model, lambda m: m(torch.zeros(1, 3, 4))).macs == 2 * 3 * 16


@pytest.mark.parametrize("case", [case for case in CASES if case.prunable], ids=lambda case: case.name)
def test_predicted_cost_is_counted_cost(case: Case) -> None:
    model = trained(case)
    grouping = grouping_of(case.name)
    surgeon, predict = Surgeon(model, grouping), CostModel(model, grouping, case.trace)
    assert predict.dense == count_cost(model, case.trace)
    for seed in (0, 1):
        surgeon.cut(random_keep(surgeon, seed, 0.7))
        assert predict(surgeon.widths.numpy()) == count_cost(model, case.trace)


def test_batches_of_widths() -> None:
    case = BY_NAME["mixing over time"]
    model = case.build()
    grouping = grouping_of(case.name)
    predict = CostModel(model, grouping, case.trace)
    widths = np.stack(np.meshgrid(np.arange(1, 7), np.arange(1, 8), indexing="ij"), axis=-1)  # [6, 7, G]
    costs = predict(widths)
    assert costs.parameters.shape == costs.macs.shape == (6, 7)
    assert costs.parameters.dtype == costs.macs.dtype == np.int64
    assert costs.macs[2, 3] == predict(np.array([3, 4])).macs
    assert costs.macs[5, 6] == predict.dense.macs


def test_counting_leaves_the_model_as_it_was() -> None:
    case = BY_NAME["batch norm"]
    model = case.build().train()
    model.n.eval()
    mean = model.n.running_mean.clone()
    grouping = grouping_of(case.name)
    count_cost(model, case.trace)
    CostModel(model, grouping, case.trace)
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert torch.equal(model.n.running_mean, mean)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_model_is_left_as_it_was_even_if_its_trace_fails() -> None:
    model = net(lambda s, x: s.a(x), a=lin(4, 4))().train()
    with pytest.raises(RuntimeError):
        count_cost(model, lambda m: m(torch.zeros(1, 5)))
    assert model.training
    assert not model.a._forward_hooks
