from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.utils.parametrize as parametrize
import torch.nn.utils.prune as prune
from constructs import BY_NAME, CASES, grouping_of
from networks import Case, conv, lin, net, of, seq, trained
from test_surgery import random_keep
from torch import nn

from prune_env.groups import CostModel, Surgeon, count_cost, discover, idle_components


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


# ---------------------------------------------------------------- weights that are no parameters of their own
class Adapter(nn.Module):
    def __init__(self, rank: int):
        super().__init__()
        self.down, self.up = nn.Parameter(torch.randn(rank, 4)), nn.Parameter(torch.randn(8, rank))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.up @ self.down


class LowRank(nn.Module):
    def forward(self, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return u @ v

    def right_inverse(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(8, 2), torch.randn(2, 4)


def frozen(layer: nn.Module) -> None:
    weight = layer.weight.detach()
    del layer.weight
    layer.register_buffer("weight", weight)


UNUSUAL = {
    "adapter of small rank": lambda a: parametrize.register_parametrization(a, "weight", Adapter(2)),
    "adapter of large rank": lambda a: parametrize.register_parametrization(a, "weight", Adapter(16)),
    "low rank": lambda a: parametrize.register_parametrization(a, "weight", LowRank()),
    "orthogonal": nn.utils.parametrizations.orthogonal,
    "weight norm": nn.utils.parametrizations.weight_norm,
    "weight norm, old": nn.utils.weight_norm,
    "spectral norm, old": nn.utils.spectral_norm,
    "mask": lambda a: prune.l1_unstructured(a, "weight", 0.3),
    "buffer": frozen,
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", UNUSUAL)
def test_cost_of_layers_whose_weight_is_no_parameter(name: str) -> None:
    torch.manual_seed(0)
    model = net(lambda s, x: s.b(s.a(x).relu()), a=lin(4, 8), b=lin(8, 3))()
    UNUSUAL[name](model.a)

    def trace(m: nn.Module) -> torch.Tensor:
        return m(torch.zeros(1, 4))

    grouping = discover(model, trace, ("a", "b"))
    surgeon, predict = Surgeon(model, grouping), CostModel(model, grouping, trace)
    assert predict.dense == count_cost(model, trace)
    assert predict.dense.macs == 4 * 8 + 8 * 3
    surgeon.cut(torch.cat([torch.arange(g.channels) < g.channels // 2 for g in grouping]))
    assert predict(surgeon.widths.numpy()) == count_cost(model, trace)
    assert count_cost(model, trace).macs == 4 * 4 + 4 * 3
    assert model.a.out_features == 4


def test_tensors_in_the_same_memory_count_once() -> None:
    model = net(lambda s, x: s.b(s.a(x) * s.c(x)), a=lin(4, 6), c=lin(4, 6), b=lin(6, 3))()
    model.c.weight.data = model.a.weight.data

    def trace(m: nn.Module) -> torch.Tensor:
        return m(torch.zeros(1, 4))

    grouping = discover(model, trace, ("a", "c", "b"))
    surgeon, predict = Surgeon(model, grouping), CostModel(model, grouping, trace)
    assert predict.dense == count_cost(model, trace)
    assert predict.dense.parameters == 24 + 6 + 6 + 18 + 3
    assert predict.dense.macs == 24 + 24 + 18
    surgeon.cut(torch.arange(6) < 2)
    assert predict(surgeon.widths.numpy()) == count_cost(model, trace)


def test_an_idle_component_may_lie_in_another_one() -> None:
    model = net(lambda s, x: s.b(s.a(x)), a=seq(lin(4, 6), lin(6, 5)), b=lin(5, 3))()

    def trace(m: nn.Module) -> torch.Tensor:
        return m(torch.zeros(1, 4))

    grouping = discover(model, trace, ("a.0", "a.1", "b"))
    predict = CostModel(model, grouping, trace, idle=("a.1",))
    assert predict.dense == count_cost(model, trace, idle=("a.1",))
    assert predict.dense.macs == 24 + 15
    assert predict.dense.parameters == 24 + 6 + 15 + 3


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_components_that_a_deployment_does_not_run_are_idle() -> None:
    """Also those whose parameters are read without a call of the module, or that lie in one that runs."""

    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4))
            self.functional, self.tied, self.critic = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 1)
            self.gru = nn.GRU(4, 4)
            self.tied.weight = self.functional.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.gru(self.body[0](x))[0]
            return nn.functional.linear(x, self.functional.weight)

    model = Parts().train()
    names = ("body", "body.1", "functional", "tied", "gru", "critic")
    found = idle_components(model, lambda m: m(torch.zeros(2, 3)), names)
    assert found == ("body.1", "critic") and model.training
    cost = count_cost(model, lambda m: m(torch.zeros(2, 3)), found)
    assert cost.parameters == sum(p.numel() for name, p in model.named_parameters() if not name.startswith(found))


def test_layers_without_inputs_or_outputs_cost_nothing() -> None:
    model = net(
        lambda s, x: (s.b(s.a(x)), s.z(s.a(x)), s.b(s.a(x)[:0])), a=lin(4, 8), b=lin(8, 3), z=of(nn.Linear, 8, 0)
    )()

    def trace(m: nn.Module) -> object:
        return m(torch.zeros(2, 4))

    grouping = discover(model, trace, ("a", "b", "z"))
    assert count_cost(model, trace).macs == CostModel(model, grouping, trace).dense.macs == 3 * 64 + 48
