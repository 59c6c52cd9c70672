"""Any model goes in: what it keeps, how it is entered, what it is made of; and components however they are named."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from networks import lin, net, of
from stable_baselines3 import A2C, DQN, PPO
from torch import Tensor, nn
from torch.func import functional_call

from prune_env.groups import Grouping, Surgeon, discover

X = (2, 4)


def trace(model: nn.Module) -> Any:
    return model(torch.zeros(X))


def groups_of(model: nn.Module, run: Callable[[Any], Any] = trace, components: Any = None) -> Grouping:
    return discover(model, run, components or [name for name, _ in model.named_children()])


def members(grouping: Grouping) -> dict[str, tuple[str, ...]]:
    return {group.name: group.members for group in grouping}


class Converting(nn.Sequential):
    """Takes numbers of any kind, as the policies of Stable-Baselines3 do."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x.float())


def test_a_network_that_converts_arrays_is_followed() -> None:
    model = Converting(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    observations = np.ones((2, 4), dtype=np.float32)
    grouping = groups_of(model, lambda m: m(torch.from_numpy(observations)))
    assert members(grouping) == {"0": ("0", "2")}


# ---------------------------------------------------------------- policies
@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("kind", [PPO, A2C, DQN])
def test_policies_of_stable_baselines(kind: Any, used: bool) -> None:
    agent = kind("MlpPolicy", "CartPole-v1", device="cpu", seed=0)
    if used:
        agent.learn(8)
    x = torch.zeros(X)
    run = {
        PPO: lambda m: list(m.evaluate_actions(x, torch.zeros(2, dtype=torch.long))),
        A2C: lambda m: [m.get_distribution(x).distribution.logits, m.predict_values(x)],
        DQN: lambda m: [m.q_net(x), m.q_net_target(x)],
    }[kind]
    grouping = groups_of(agent.policy, run)
    assert len(grouping) == 4
    assert {group.channels for group in grouping} == {64}
    Surgeon(agent.policy, grouping).cut(torch.arange(256) % 64 < 10)
    run(agent.policy)


def test_a_policy_of_continuous_actions_with_its_distribution() -> None:
    from stable_baselines3.common.policies import ActorCriticPolicy

    box = gym.spaces.Box(-1, 1, (4,))
    policy = ActorCriticPolicy(box, gym.spaces.Box(-1, 1, (2,)), lambda _: 1e-3)
    grouping = groups_of(policy, lambda m: list(m.evaluate_actions(torch.zeros(X), torch.zeros(2, 2))))
    assert len(grouping) == 4


# ---------------------------------------------------------------- what a model keeps
class Keeps(nn.Module):
    """Reads an activation that it has kept itself, or that a hook has."""

    def __init__(self, by_hook: bool):
        super().__init__()
        self.a, self.b, self.c, self.kept = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(16, 3), {}
        self.by_hook = by_hook
        if by_hook:
            self.a.register_forward_hook(lambda module, inputs, output: self.kept.__setitem__("a", [output]))

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        if not self.by_hook:
            self.kept["a"] = [h]
        return self.c(torch.cat([self.b(h.relu()), self.kept["a"][0]], 1))


@pytest.mark.parametrize("by_hook", [False, True])
@pytest.mark.parametrize("used", [False, True])
def test_activations_that_are_kept(by_hook: bool, used: bool) -> None:
    model = Keeps(by_hook)
    if used:
        trace(model)
    kept = model.kept.get("a")
    assert members(groups_of(model)) == {"a": ("a", "b", "c"), "b": ("b", "c")}
    assert model.kept.get("a") is kept


class Embeds(nn.Module):
    """A callable that holds the model."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.n, self.b = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)
        self.embed, self.calls = lambda x: self.n(self.a(x)), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.b(self.embed(x).relu())


@pytest.mark.parametrize("through", ["argument", "closure", "partial", "method"])
def test_the_model_is_followed_and_left_alone_however_it_is_reached(through: str) -> None:
    model = Embeds().train()
    before = {name: t.clone() for name, t in model.state_dict().items()}

    def closing(_: nn.Module) -> Tensor:
        return model(torch.zeros(4, 4))

    class Target:
        def __init__(self) -> None:
            self.model = model

        def trace(self, _: nn.Module) -> Tensor:
            return self.model(torch.zeros(4, 4))

    run: Any = {
        "argument": lambda m: m(torch.zeros(4, 4)),
        "closure": closing,
        "partial": functools.partial(lambda mine, _: mine(torch.zeros(4, 4)), model),
        "method": Target().trace,
    }[through]
    assert members(groups_of(model, run)) == {"a": ("a", "n", "b")}
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert (model.calls, model.training) == (0, True)


_HIDDEN: list[Any] = []


def test_a_model_that_is_reached_by_a_path_that_nobody_sees_is_put_back() -> None:
    model = Embeds().train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    _HIDDEN[:] = [model]
    grouping = groups_of(model, lambda m: _HIDDEN[0](torch.randn(4, 4)))
    assert len(grouping) == 0
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert (model.calls, model.training) == (0, True)


# ---------------------------------------------------------------- how it is entered
class World(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.mean, self.spread = nn.GRUCell(4, 8), nn.Linear(8, 6), nn.Linear(8, 6)
        self.out = nn.Linear(6, 3)

    def rollout(self, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), self.cell.hidden_size)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        mean = self.mean(h)
        return self.out(mean + torch.randn_like(mean) * self.spread(h).exp())

    def forward(self, x: Tensor) -> Tensor:
        return self.rollout(x)


@pytest.mark.parametrize(
    "call",
    [
        lambda m, x: m(x),
        lambda m, x: m.rollout(x),
        lambda m, x: functional_call(m, dict(m.named_parameters()), (x,)),
        lambda m, x: World.rollout(m, x),
    ],
    ids=["forward", "method", "functional", "unbound"],
)
def test_entry_points(call: Any) -> None:
    torch.manual_seed(0)
    grouping = groups_of(World(), lambda m: call(m, torch.zeros(3, 2, 4)))
    assert grouping.names == ("cell", "mean")


@pytest.mark.parametrize("only", [True, False], ids=["training", "evaluation"])
def test_branches_that_one_mode_takes_belong_to_the_groups(only: bool) -> None:
    def forward(s: Any, x: Tensor) -> Any:
        h = s.a(x).relu()
        return (s.b(h), s.aux(h)) if s.training is only else s.b(h)

    model = net(forward, a=lin(4, 8), b=lin(8, 3), aux=lin(8, 3))()
    grouping = groups_of(model)
    assert members(grouping) == {"a": ("a", "b", "aux")}
    Surgeon(model, grouping).cut(torch.arange(8) < 4)
    for training in (True, False):
        trace(model.train(training))


# ---------------------------------------------------------------- what it is made of
class Nothing(nn.Module):
    def forward(self, x: Tensor) -> None:
        return None


def buffered(layer: nn.Module) -> nn.Module:
    for name in ("weight", "bias"):
        tensor = getattr(layer, name).detach()
        delattr(layer, name)
        layer.register_buffer(name, tensor)
    return layer


UNUSUAL: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "complex outputs": (net(lambda s, x: torch.fft.fft(s.b(s.a(x))), a=lin(4, 8), b=lin(8, 3)), ("a",)),
    "complex weights": (
        net(
            lambda s, x: s.b(s.a(x.to(torch.complex64))),
            a=of(nn.Linear, 4, 8, dtype=torch.complex64),
            b=of(nn.Linear, 8, 3, dtype=torch.complex64),
        ),
        ("a",),
    ),
    "no outputs": (
        net(lambda s, x: (s.b(s.a(x)), s.z(s.a(x))), a=lin(4, 8), b=lin(8, 3), z=of(nn.Linear, 8, 0)),
        ("a",),
    ),
    "None": (net(lambda s, x: (s.b(s.a(x)), s.z(x)), a=lin(4, 8), b=lin(8, 3), z=Nothing), ("a",)),
    "buffers": (
        net(lambda s, x: s.b(s.c(s.a(x).relu())), a=lin(4, 8), c=lambda: buffered(nn.Linear(8, 8)), b=lin(8, 3)),
        ("a", "c"),
    ),
    "frozen normalisation": (
        net(lambda s, x: s.b(s.n(s.a(x))), a=lin(4, 8), n=lambda: buffered(nn.BatchNorm1d(8)), b=lin(8, 3)),
        ("a",),
    ),
    "weight norm": (
        net(lambda s, x: s.b(s.a(x)), a=lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 8)), b=lin(8, 3)),
        ("a",),
    ),
}


@pytest.mark.filterwarnings("ignore:Initializing zero-element", "ignore:Complex modules")
@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_layers(name: str) -> None:
    build, wanted = UNUSUAL[name]
    model = build()
    grouping = groups_of(model)
    assert grouping.names == wanted
    surgeon = Surgeon(model, grouping)
    surgeon.cut(torch.cat([torch.arange(g.channels) < g.channels // 2 for g in grouping]))
    trace(model)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            assert (module.out_features, module.in_features) == module.weight.shape


def test_reasons_are_true() -> None:
    model = net(lambda s, x: s.b(F.linear(s.a(x), s.w)), a=lin(4, 8), b=lin(8, 3))()
    model.w = torch.randn(8, 8, requires_grad=True)
    reasons = {group.name: group.reason for group in groups_of(model).locked}
    assert reasons["a"].startswith("it is tied to w, a tensor that is neither a parameter nor a buffer")
    assert reasons["a"].endswith("register it as a buffer")
    with pytest.raises(ValueError, match=r"sizes of a.weight, a.bias are not known yet: run the model once"):
        groups_of(net(lambda s, x: s.a(x), a=of(nn.LazyLinear, 8))())
    with pytest.raises(ValueError, match=r"a.weight, a.bias are on the device 'meta'"):
        groups_of(net(lambda s, x: s.a(x), a=of(nn.Linear, 4, 8, device="meta"))())


# ---------------------------------------------------------------- components
class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8)), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).relu())


def test_what_lies_outside_all_components_is_locked() -> None:
    grouping = groups_of(Nested(), components=("b",))
    assert {group.name: group.components for group in grouping} == {"a.2": ("b",)}
    assert grouping["a.0"].reason == "it lies outside all components"


def test_components_in_each_other() -> None:
    grouping = groups_of(Nested(), components=("a", "a.0", "b"))
    assert {group.name: (group.kind, group.components) for group in grouping} == {
        "a.0": ("coupling", ("a", "a.0")),
        "a.2": ("coupling", ("a", "b")),
    }


def test_components_that_are_given_twice_count_once() -> None:
    with pytest.warns(UserWarning, match="components are given more than once: a"):
        grouping = groups_of(Nested(), components=("a", "a", "b"))
    assert {group.name: group.components for group in grouping} == {"a.0": ("a",), "a.2": ("a", "b")}


@pytest.mark.parametrize(("components", "why"), [((), "components is empty"), ("a", "must be a sequence of names")])
def test_components_that_cannot_be_meant(components: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        discover(Nested(), trace, components)
