from __future__ import annotations

import functools
import threading
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prune_env.groups.tracing.replica import copied, replicate, unchanged


def two_layers() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))


# ---------------------------------------------------------------- tensors
@pytest.mark.parametrize(
    "keep",
    [
        lambda h: h,
        lambda h: [h],
        lambda h: {"h": (1, h)},
        lambda h: torch.distributions.Normal(h, 1.0),
        lambda h: lambda: h,
        lambda h: functools.partial(torch.add, h),
    ],
    ids=["attribute", "list", "nested", "distribution", "closure", "partial"],
)
def test_activations_are_detached_wherever_they_are(keep: Any) -> None:
    model = two_layers()
    hidden = model[0](torch.ones(2, 4))
    model.kept = keep(hidden)
    replica = copied(model)
    kept = replica.kept
    found = {
        "Tensor": lambda: kept,
        "list": lambda: kept[0],
        "dict": lambda: kept["h"][1],
        "Normal": lambda: kept.loc,
        "function": lambda: kept() if callable(kept) else None,
        "partial": lambda: kept.args[0],
    }[type(kept).__name__]()
    assert torch.equal(found, hidden)
    if type(kept).__name__ not in ("function", "partial"):
        assert found.is_leaf
        assert found.data_ptr() != hidden.data_ptr()


def test_shared_structure_is_kept() -> None:
    model = two_layers()
    flat = torch.randn(40)
    model[0].weight.data = flat[:32].view(8, 4)
    model.register_buffer("view", flat[36:])
    model.first = model.second = torch.zeros(3)
    model[1].extra = model[0].weight  # the same Parameter under two names
    replica = copied(model)
    assert replica.first is replica.second
    assert replica[1].extra is replica[0].weight
    assert replica[0].weight.untyped_storage().data_ptr() == replica.view.untyped_storage().data_ptr()
    assert replica[0].weight.data_ptr() != model[0].weight.data_ptr()
    assert torch.equal(replica.view, flat[36:])


def test_parameters_in_the_same_memory_become_one() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight.data = model[0].weight.data
    replica = copied(model)
    assert replica[0].weight is replica[1].weight
    assert model[0].weight is not model[1].weight


def test_attributes_of_parameters_and_modules_are_kept() -> None:
    model = two_layers()
    model[0].weight.no_decay = ["yes"]
    model[0].bias.requires_grad_(False)
    model.note = {"a": [1, 2]}
    replica = copied(model)
    assert replica[0].weight.no_decay == ["yes"]
    assert not replica[0].bias.requires_grad
    assert replica.note == model.note
    assert replica.note is not model.note


# ---------------------------------------------------------------- functions
class Holds(nn.Module):
    """Functions that refer to the module in all the ways that Python has."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.calls = nn.Linear(4, 8), 0
        self.closure = lambda x: self.a(x)
        self.default = lambda x, layer=self.a: layer(x)
        self.method = self.run
        self.partial = functools.partial(Holds.run, self)
        self.nested = {"inner": [lambda x: self.closure(x)]}
        self.weak = weakref.ref(self.a)
        self.a.register_forward_hook(lambda module, inputs, output: self.count())

    def count(self) -> None:
        self.calls += 1

    def run(self, x: Tensor) -> Tensor:
        return self.a(x)


@pytest.mark.parametrize(
    "call",
    [
        lambda m, x: m.closure(x),
        lambda m, x: m.default(x),
        lambda m, x: m.method(x),
        lambda m, x: m.partial(x),
        lambda m, x: m.nested["inner"][0](x),
        lambda m, x: m.weak()(x),
    ],
    ids=["closure", "default", "method", "partial", "nested", "weak reference"],
)
def test_functions_run_the_copy(call: Any) -> None:
    model = Holds()
    replica = copied(model)
    with torch.no_grad():
        replica.a.weight.zero_()
        replica.a.bias.zero_()
    assert torch.equal(call(replica, torch.ones(1, 4)), torch.zeros(1, 8))
    assert (model.calls, replica.calls) == (0, 1)


def test_a_hook_that_fills_a_list_fills_that_of_the_copy() -> None:
    model, kept = two_layers(), []
    model[0].register_forward_hook(lambda module, inputs, output: kept.append(output))
    copied(model)(torch.ones(1, 4))
    assert kept == []


def test_a_trace_that_closes_over_the_model_runs_the_copy() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
    big = [object()]

    def trace(_: nn.Module) -> Tensor:
        assert big
        return model(torch.ones(3, 4))

    replica, run = replicate(model, trace)
    run(replica)
    assert int(model[1].num_batches_tracked) == 0
    assert int(replica[1].num_batches_tracked) == 1
    assert run.__closure__[0].cell_contents is big  # only what refers to the model is copied


def test_a_trace_that_does_not_refer_to_the_model_is_the_same() -> None:
    x = torch.ones(1, 4)

    def trace(m: nn.Module) -> Tensor:
        return m(x)

    assert replicate(two_layers(), trace)[1] is trace


def test_what_cannot_be_copied_is_shared() -> None:
    model = two_layers()
    model.lock, model.stream = threading.Lock(), (i for i in range(3))
    replica = copied(model)
    assert replica.lock is model.lock
    assert replica.stream is model.stream
    assert replica[0].weight is not model[0].weight


def test_other_deep_copies_are_not_affected() -> None:
    import copy

    model = Holds()
    copied(model)
    assert copy.deepcopy(model.closure) is model.closure
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(model(torch.ones(1, 4)) if False else model.a(torch.ones(1, 4)))


# ---------------------------------------------------------------- the original
def test_everything_is_put_back() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
    model.steps, model.kept, model.plain = 0, {"a": 1}, torch.zeros(2)
    model[0].weight.grad = torch.ones(8, 4)
    state = {name: t.clone() for name, t in model.state_dict().items()}
    weight, gradient = model[0].weight, model[0].weight.grad
    with unchanged(model):
        model(torch.randn(5, 4)).sum().backward()
        model.steps, model.new = 3, 4
        model.kept["b"] = 2
        model.plain += 1
        model[0].weight = nn.Parameter(torch.zeros(1))
        model.eval()
    assert all(torch.equal(t, state[name]) for name, t in model.state_dict().items())
    assert model[0].weight is weight
    assert weight.grad is gradient
    assert torch.equal(gradient, torch.ones(8, 4))
    assert model.training
    assert (model.steps, model.kept, model.plain.tolist()) == (0, {"a": 1}, [0.0, 0.0])
    assert not hasattr(model, "new")
