"""What a cut and a restore must keep: hooks, attributes, ties, plain tensors, requires_grad."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.utils.parametrize as parametrize
from torch import Tensor, nn

from prune_env.groups import Grouping, Surgeon, discover

X = torch.linspace(-1, 1, 8).view(2, 4)
KEEP = torch.arange(6) % 2 == 0


class Two(nn.Module):
    """Two layers, and whatever `change` does to them."""

    def __init__(self, change: Callable[[Any], None] = lambda m: None):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)
        change(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).relu())


def grouping_of(model: nn.Module, components: tuple[str, ...] = ("a", "b")) -> Grouping:
    return discover(model, lambda m: m(torch.zeros(2, 4)), components)


def surgeon_of(model: nn.Module, grouping: Grouping | None = None, **options: Any) -> Surgeon:
    return Surgeon(model, grouping or grouping_of(model), **options)


# ---------------------------------------------------------------- hooks and attributes
def test_hooks_of_parameters_stay_and_can_be_removed() -> None:
    model, calls = Two(), []
    one = model.a.weight.register_hook(lambda g: calls.append(tuple(g.shape)) or 2 * g)
    two = model.a.weight.register_post_accumulate_grad_hook(lambda p: calls.append(p is model.a.weight))
    surgeon = surgeon_of(model)
    snapshot = surgeon.snapshot()
    surgeon.cut(KEEP)
    model(X).sum().backward()
    doubled = model.a.weight.grad.clone()
    assert calls == [(3, 4), True]
    surgeon.restore(snapshot)
    surgeon.cut(KEEP)
    one.remove()
    model(X).sum().backward()
    assert calls == [(3, 4), True, True]
    assert torch.equal(2 * model.a.weight.grad, doubled)
    two.remove()
    surgeon.restore(snapshot)
    model(X).sum().backward()
    assert len(calls) == 3


def test_hooks_of_modules_stay() -> None:
    model, calls = Two(), []
    model.a.register_forward_hook(lambda m, i, o: calls.append("forward"))
    model.a.register_forward_pre_hook(lambda m, i: calls.append("before"))
    model.a.register_full_backward_hook(lambda m, i, o: calls.append("backward"))
    model.a.register_state_dict_post_hook(lambda *_: calls.append("state"))
    model.register_load_state_dict_post_hook(lambda *_: calls.append("load"))
    surgeon = surgeon_of(model)
    assert calls == []  # discovery has called those of copies
    snapshot = surgeon.snapshot()
    for act in (lambda: surgeon.cut(KEEP), lambda: surgeon.restore(snapshot)):
        act()
        calls.clear()
        model(X).sum().backward()
        model.load_state_dict(model.state_dict())
        assert calls == ["before", "forward", "backward", "state", "load"]


def test_attributes_of_parameters_and_buffers_stay() -> None:
    model = Two(lambda m: m.register_buffer("scale", torch.ones(6)))
    model.forward = lambda x: model.b(model.a(x).relu() * model.scale)
    model.a.weight.no_decay, model.scale.mark = True, "buffer"
    model.b.bias.no_decay = True
    surgeon = surgeon_of(model, grouping_of(model))
    snapshot = surgeon.snapshot()
    surgeon.cut(KEEP)
    assert model.scale.shape == (3,)
    for _ in range(2):
        assert (model.a.weight.no_decay, model.scale.mark, model.b.bias.no_decay) == (True, "buffer", True)
        assert isinstance(model.a.weight, nn.Parameter)
        surgeon.restore(snapshot)


def test_the_type_of_a_parameter_stays() -> None:
    class Special(nn.Parameter):
        pass

    def change(m: Any) -> None:
        m.a.weight = Special(m.a.weight.detach())

    model = Two(change)
    surgeon = surgeon_of(model)
    snapshot = surgeon.snapshot()
    surgeon.cut(KEEP)
    assert type(model.a.weight) is Special
    assert model.a.weight.requires_grad
    surgeon.restore(snapshot)
    assert type(model.a.weight) is Special


def test_what_is_frozen_meanwhile_is_trained_again_after_restore() -> None:
    model = Two()
    model.b.weight.requires_grad_(False)
    surgeon = surgeon_of(model)
    snapshot = surgeon.snapshot()
    surgeon.cut(KEEP)
    model.a.weight.requires_grad_(False)
    model.b.weight.requires_grad_(True)
    surgeon.cut(torch.tensor([True, False, True]))
    assert (model.a.weight.requires_grad, model.b.weight.requires_grad) == (False, True)
    surgeon.restore(snapshot)
    assert (model.a.weight.requires_grad, model.b.weight.requires_grad) == (True, False)


# ---------------------------------------------------------------- ties
class Tied(nn.Module):
    """Two layers whose weights are the same, in some way."""

    def __init__(self, tie: Callable[[nn.Linear, nn.Linear], None]):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.c, self.b = nn.Linear(4, 6, bias=False), nn.Linear(4, 6, bias=False), nn.Linear(6, 3)
        tie(self.a, self.c)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x) * self.c(x + 1))


def by_object(a: nn.Linear, c: nn.Linear) -> None:
    c.weight = a.weight


def by_data(a: nn.Linear, c: nn.Linear) -> None:
    c.weight.data = a.weight.data


def by_view(a: nn.Linear, c: nn.Linear) -> None:
    flat = torch.randn(24)
    a.weight.data, c.weight.data = flat.view(6, 4), flat[:].view(6, 4)


def buffers(a: nn.Linear, c: nn.Linear) -> None:
    weight = a.weight.detach()
    for layer in (a, c):
        del layer.weight
        layer.register_buffer("weight", weight)


def parameter_and_buffer(a: nn.Linear, c: nn.Linear) -> None:
    del c.weight
    c.register_buffer("weight", a.weight.data)


@pytest.mark.parametrize("tie", [by_object, by_data, by_view, buffers, parameter_and_buffer])
def test_ties_stay(tie: Any) -> None:
    model = Tied(tie)
    dense = model.a.weight.detach().clone()
    grouping = grouping_of(model, ("a", "c", "b"))
    assert grouping.names == ("a",)
    surgeon = surgeon_of(model, grouping)
    snapshot = surgeon.snapshot()
    surgeon.cut(KEEP)
    for wanted in (dense[KEEP], dense):
        assert torch.equal(model.a.weight, wanted)
        assert torch.equal(model.c.weight, wanted)
        with torch.no_grad():
            model.a.weight[0, 0] = 7.0
        assert float(model.c.weight[0, 0]) == 7
        model(X)
        surgeon.restore(snapshot)


def test_groups_that_share_memory_are_one_group() -> None:
    """Elsewhere in the network the two layers have nothing to do with each other."""

    class Apart(nn.Module):
        def __init__(self, memory: bool):
            super().__init__()
            self.a, self.c = nn.Linear(4, 6, bias=False), nn.Linear(4, 6, bias=False)
            self.b, self.d = nn.Linear(6, 3), nn.Linear(6, 3)
            if memory:
                parameter_and_buffer(self.a, self.c)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).relu()) + self.d(self.c(x).relu())

    names = ("a", "b", "c", "d")
    assert {g.name: g.members for g in grouping_of(Apart(False), names)} == {"a": ("a", "b"), "c": ("c", "d")}
    model = Apart(True)
    grouping = grouping_of(model, names)
    assert [set(g.members) for g in grouping] == [{"a", "b", "c", "d"}]
    surgeon_of(model, grouping).cut(KEEP)
    assert torch.equal(model.a.weight, model.c.weight)
    assert model.a.weight.data_ptr() == model.c.weight.data_ptr()
    assert model(X).shape == (2, 3)


@pytest.mark.parametrize("turned", [False, True])
def test_a_tie_that_a_cut_would_break_is_locked_and_comes_back(turned: bool) -> None:
    class Autoencoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 6, bias=False), nn.Linear(6, 4, bias=False)
            if turned:
                self.b.weight.data = self.a.weight.data.T
            else:
                flat = torch.randn(30)
                self.a.weight.data, self.b.weight.data = flat[:24].view(6, 4), flat[6:].view(4, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).relu())

    model = Autoencoder()
    grouping = grouping_of(model)
    assert len(grouping) == 0
    assert "shares a part of its memory" in grouping["a"].reason
    surgeon = surgeon_of(model, grouping)
    snapshot = surgeon.snapshot()
    before = model.b.weight.detach().clone()
    with torch.no_grad():
        model.a.weight.add_(1.0)
    surgeon.restore(snapshot)
    assert torch.equal(model.b.weight, before)
    with torch.no_grad():
        model.a.weight.add_(1.0)
    assert not torch.equal(model.b.weight, before)


def test_a_list_of_parameters_holds_the_new_ones() -> None:
    def change(m: Any) -> None:
        m.regularized, m.by_name = [m.a.weight, m.b.weight], {"bias": m.a.bias}
        vars(m)["hidden"] = m.a.weight

    model = Two(change)
    surgeon = surgeon_of(model)
    snapshot = surgeon.snapshot()
    surgeon.cut(KEEP)
    for _ in range(2):
        assert model.regularized[0] is model.a.weight
        assert model.regularized[1] is model.b.weight
        assert model.by_name["bias"] is model.a.bias
        assert model.hidden is model.a.weight
        surgeon.restore(snapshot)


# ---------------------------------------------------------------- tensors that are no parameters
class Plain(Two):
    def forward(self, x: Tensor) -> Tensor:
        scale = self.scale
        scale = scale if isinstance(scale, Tensor) else next(iter(getattr(scale, "values", lambda: scale)()))
        return self.b(self.a(x) * scale)


def test_a_constant_attribute_is_cut_and_comes_back() -> None:
    scale = torch.arange(6.0)
    model = Plain(lambda m: (setattr(m, "scale", scale), setattr(m, "also", scale)))
    surgeon = surgeon_of(model)
    snapshot = surgeon.snapshot()
    for _ in range(2):
        surgeon.cut(KEEP)
        assert model.scale.tolist() == scale[KEEP].tolist()
        assert model.also is model.scale
        assert model(X).shape == (2, 3)
        surgeon.restore(snapshot)
        assert torch.equal(model.scale, scale)
        assert model.also is model.scale


@pytest.mark.parametrize("keep", [lambda t: [t], lambda t: (t,), lambda t: {"k": t}, lambda t: t.requires_grad_()])
def test_plain_tensors_of_a_width_lock_its_group(keep: Any) -> None:
    model = Plain(lambda m: setattr(m, "scale", keep(torch.arange(6.0))))
    grouping = grouping_of(model)
    assert len(grouping) == 0
    assert "a tensor that is neither a parameter nor a buffer" in grouping["a"].reason


def test_plain_tensors_and_absent_buffers_come_back() -> None:
    def change(m: Any) -> None:
        m.register_buffer("cache", None)
        m.mean, m.sums, m.count = torch.zeros(2), [torch.ones(2)], {"n": torch.tensor(3)}

    model = Two(change)
    mean = model.mean
    surgeon = surgeon_of(model)
    snapshot = surgeon.snapshot()
    surgeon.cut(KEEP)
    model.cache = torch.ones(5)
    model.mean += 1
    model.sums[0] = torch.zeros(3)
    model.count["n"] += 1
    for _ in range(2):
        surgeon.restore(snapshot)
        assert model.cache is None
        assert "cache" in model._buffers
        assert model.mean is mean
        assert (mean.tolist(), model.sums[0].tolist(), int(model.count["n"])) == ([0, 0], [1, 1], 3)
        model.sums[0] += 1


# ---------------------------------------------------------------- computed weights
class Adapter(nn.Module):
    def __init__(self, out: int, inputs: int, rank: int):
        super().__init__()
        self.down, self.up = nn.Parameter(torch.randn(rank, inputs)), nn.Parameter(torch.randn(out, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


COMPUTED: dict[str, Callable[[nn.Linear], Any]] = {
    "weight norm, old": nn.utils.weight_norm,
    "weight norm": nn.utils.parametrizations.weight_norm,
    "spectral norm, old": nn.utils.spectral_norm,
    "spectral norm": nn.utils.parametrizations.spectral_norm,
    "adapter": lambda a: parametrize.register_parametrization(a, "weight", Adapter(6, 4, 9)),
    "orthogonal": nn.utils.parametrizations.orthogonal,
    "frozen adapter": lambda a: parametrize.register_parametrization(
        a.requires_grad_(False), "weight", Adapter(6, 4, 9)
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", COMPUTED)
def test_layers_with_computed_weights_are_cut(name: str) -> None:
    model = Two(lambda m: COMPUTED[name](m.a)).eval()
    before = model.state_dict()
    outputs = model(X)
    grouping = grouping_of(model)
    group = next(g for g in grouping if g.channels == 6)
    surgeon = surgeon_of(model, grouping)
    snapshot = surgeon.snapshot()
    keep = torch.cat([KEEP if g is group else torch.ones(g.channels, dtype=torch.bool) for g in grouping])
    hidden = model.a(X)
    surgeon.cut(keep)
    assert model.a.weight.shape == (3, 4)
    assert (model.a.out_features, model.b.in_features) == (3, 3)
    if "spectral" not in name:  # the norm of a part is another one
        assert torch.allclose(model.a(X), hidden[:, KEEP], atol=1e-6)
    assert model.a(X).shape == (2, 3)
    surgeon.restore(snapshot)
    assert torch.equal(model(X), outputs)
    assert all(torch.equal(t, before[key]) for key, t in model.state_dict().items())
