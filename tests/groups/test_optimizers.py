from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prune_env.groups import Surgeon, discover
from prune_env.groups.optimizers import StateLayout, with_inner


class Factored(torch.optim.Optimizer):
    """Rows and columns of the squared gradient, as in CAME and Hugging Face's Adafactor."""

    def __init__(self, parameters: Any):
        super().__init__(parameters, {"lr": 0.01})
        self.eps = 1e-8  # an attribute that a copy of an optimizer would lose

    @torch.no_grad()
    def step(self) -> None:
        for settings in self.param_groups:
            for p in settings["params"]:
                if p.grad is None:
                    continue
                state, square = self.state[p], p.grad.square()
                if p.dim() > 1:
                    row = state.setdefault("one", torch.zeros(p.shape[:-1])).mul_(0.9).add_(square.mean(-1))
                    column = state.setdefault("other", torch.zeros(p.shape[:-2] + p.shape[-1:]))
                    column.mul_(0.9).add_(square.mean(-2))
                    square = row[..., None] * column[..., None, :]
                p.sub_(settings["lr"] * p.grad / (square.sqrt() + self.eps))


class Preconditioned(torch.optim.Optimizer):
    """A square matrix for every dimension, as in Shampoo; made at the first step."""

    def __init__(self, parameters: Any, in_list: bool = False):
        super().__init__(parameters, {"lr": 0.01})
        self.in_list = in_list

    @torch.no_grad()
    def step(self) -> None:
        for settings in self.param_groups:
            for p in settings["params"]:
                matrices = [torch.eye(n) for n in p.shape]
                self.state[p].update({"factors": matrices} if self.in_list else {"factor": matrices[0]})


class Adam8bit(torch.optim.Adam):
    pass


class Keeps(torch.optim.SGD):
    def __init__(self, parameters: Any):
        parameters = list(parameters)
        super().__init__(parameters, lr=0.1)
        self.slow = {"weights": parameters}


class Wraps(torch.optim.Optimizer):
    """SAM: an optimizer around another one."""

    def __init__(self, inner: torch.optim.Optimizer):
        self.inner = inner
        super().__init__(inner.param_groups, {})
        self.param_groups = inner.param_groups

    def step(self) -> None:
        self.inner.step()


def network(width: int = 8) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 8))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int = 0) -> None:
    x = torch.randn(5, 8, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    model(x).square().sum().backward()
    optimizer.step()


def surgeon_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> Surgeon:
    return Surgeon(model, discover(model, lambda m: m(torch.zeros(2, 8)), ("0", "2")), [optimizer])


KEEP = torch.arange(8) % 3 == 0


def test_factored_statistics_of_square_weights_are_cut_along_the_right_dimension() -> None:
    model = network()
    optimizer = Factored(model.parameters())
    step(model, optimizer)
    before = [{key: t.clone() for key, t in optimizer.state[p].items()} for p in model.parameters()]
    surgeon = surgeon_of(model, optimizer)
    snapshot = surgeon.snapshot()
    surgeon.cut(KEEP)
    first, _, second, _ = (optimizer.state[p] for p in model.parameters())
    assert torch.equal(first["one"], before[0]["one"][KEEP])
    assert torch.equal(first["other"], before[0]["other"])
    assert torch.equal(second["one"], before[2]["one"])
    assert torch.equal(second["other"], before[2]["other"][KEEP])
    step(model, optimizer)
    surgeon.restore(snapshot)
    for p, then in zip(model.parameters(), before, strict=True):
        assert optimizer.state[p].keys() == then.keys()
        assert all(torch.equal(optimizer.state[p][key], then[key]) for key in then)


def test_state_that_is_made_after_the_surgeon_is_cut_too() -> None:
    model = network()
    optimizer = Factored(model.parameters())
    surgeon = surgeon_of(model, optimizer)
    step(model, optimizer)
    surgeon.cut(KEEP)
    assert optimizer.state[model[2].weight]["other"].shape == (3,)
    assert optimizer.state[model[2].weight]["one"].shape == (8,)
    step(model, optimizer)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda p: torch.optim.LBFGS(p), "LBFGS cannot be cut: it keeps one history"),
        (lambda p: Preconditioned(p), "Preconditioned cannot be cut: its 'factor' has shape"),
        (lambda p: Preconditioned(p, in_list=True), "Preconditioned cannot be cut: its 'factors' is a list of tensors"),
        (lambda p: Adam8bit(p), "Adam8bit cannot be cut: it keeps its state in compressed blocks"),
        (lambda p: Keeps(p), "Keeps cannot be cut: it keeps parameters in its attribute 'slow'"),
    ],
    ids=["LBFGS", "a square", "a list", "8 bits", "an attribute"],
)
def test_optimizers_that_cannot_be_cut_are_refused_before_their_first_step(make: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        StateLayout(make(network().parameters()))


def test_state_whose_shape_says_nothing_is_refused() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.state[model[0].weight]["odd"] = torch.zeros(8)
    with pytest.raises(ValueError, match="SGD cannot be cut: its 'odd' has shape"):
        StateLayout(optimizer)


def test_trying_a_step_changes_nothing() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    calls: list[int] = []
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    step(model, optimizer)
    weights = [p.detach().clone() for p in model.parameters()]
    count, states = len(calls), (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())  # noqa: NPY002
    StateLayout(optimizer)
    assert len(calls) == count
    assert len(optimizer.state) == 4
    assert len(optimizer.param_groups[0]["params"]) == 4
    assert scheduler.last_epoch == 0
    assert all(torch.equal(p, w) for p, w in zip(model.parameters(), weights, strict=True))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])  # noqa: NPY002


def test_a_wrapped_optimizer_is_cut_with_its_wrapper() -> None:
    model = network()
    inner = torch.optim.Adam(model.parameters())
    outer = Wraps(inner)
    assert with_inner([outer, inner]) == [outer, inner]
    step(model, outer)
    surgeon = surgeon_of(model, outer)
    snapshot = surgeon.snapshot()
    before = inner.state[model[0].weight]["exp_avg"].clone()
    surgeon.cut(KEEP)
    assert torch.equal(inner.state[model[0].weight]["exp_avg"], before[KEEP])
    assert [id(p) for p in outer.param_groups[0]["params"]] == [id(p) for p in model.parameters()]
    step(model, outer)
    surgeon.restore(snapshot)
    assert torch.equal(inner.state[model[0].weight]["exp_avg"], before)


@pytest.mark.parametrize(
    "options",
    [{"foreach": True}, {"fused": True}, {"foreach": False}, {"amsgrad": True}, {"lr": torch.tensor(0.01)}],
    ids=str,
)
@pytest.mark.parametrize("kind", ["Adam", "AdamW"])
def test_training_goes_on_as_that_of_a_network_sliced_by_hand(kind: str, options: dict[str, Any]) -> None:
    options = {"lr": 0.01} | options
    model = network()
    optimizer = getattr(torch.optim, kind)(model.parameters(), **options)
    surgeon = surgeon_of(model, optimizer)
    step(model, optimizer)
    sliced = network(3)
    other = getattr(torch.optim, kind)(sliced.parameters(), **options)
    step(sliced, other)  # makes its state

    def left(t: Tensor, name: str) -> Tensor:
        if not t.dim():
            return t
        return t[KEEP] if name.startswith("0") else t[:, KEEP] if name == "2.weight" else t

    with torch.no_grad():
        for (name, p), q in zip(model.named_parameters(), sliced.parameters(), strict=True):
            q.copy_(left(p, name))
            for key, value in optimizer.state[p].items():
                other.state[q][key].copy_(left(value, name))
    surgeon.cut(KEEP)
    for seed in range(3):
        step(model, optimizer, seed)
        step(sliced, other, seed)
    for p, q in zip(model.parameters(), sliced.parameters(), strict=True):
        assert torch.equal(p, q)


def test_state_that_belongs_to_no_parameter_comes_back() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.state["global"] = {"count": torch.tensor(3.0), "list": [torch.ones(2)]}
    surgeon = surgeon_of(model, optimizer)
    snapshot = surgeon.snapshot()
    optimizer.state["global"]["count"].add_(1)
    optimizer.state["global"]["list"][0].add_(1)
    surgeon.cut(KEEP)
    surgeon.restore(snapshot)
    assert float(optimizer.state["global"]["count"]) == 3
    assert optimizer.state["global"]["list"][0].tolist() == [1, 1]
