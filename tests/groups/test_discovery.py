from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch
from constructs import BY_NAME, CASES, grouping_of
from networks import Case, lin, net, of
from torch import nn

from prune_env.groups import discover

LINEAR = BY_NAME["linear"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_construct_has_exactly_these_groups(case: Case) -> None:
    grouping = grouping_of(case.name)
    assert {group.name: f"{group.channels} {' '.join(group.members)}" for group in grouping} == case.prunable
    assert {group.name for group in grouping.locked} == set(case.locked)
    for group in grouping.locked:
        assert case.locked[group.name] in group.reason
        assert group.kind == "locked"
    for group in grouping:
        owners = {member.split(".")[0] for member in group.members} & set(case.components())
        assert set(group.components) == owners
        assert group.kind == ("coupling" if len(owners) > 1 else "component")
        assert group.reason is None
        assert group.root in group.members


def test_an_ordinary_network_is_found_by_torch_pruning_and_an_extraordinary_one_by_propagation() -> None:
    for name in ("conv2d", "residual", "batch norm", "module used twice in a row"):
        assert {group.found_by for group in grouping_of(name)} == {"torch-pruning"}
    for name in ("concatenation, raw input first", "chunk to two readers", "residual to the input", "GRU"):
        assert "propagation" in {group.found_by for group in [*grouping_of(name), *grouping_of(name).locked]}


def test_order_is_that_of_execution() -> None:
    build = net(lambda s, x: s.first(s.second(s.third(x))), first=lin(5, 3), second=lin(6, 5), third=lin(4, 6))
    grouping = discover(build(), lambda m: m(torch.zeros(1, 4)), ("first", "second", "third"))
    assert grouping.names == ("third", "second")
    assert grouping.groups[0].components == ("second", "third")  # in the order in which they were named


def test_slices_by_hand() -> None:
    build = net(lambda s, x, u: s.b(torch.cat([u, s.a(x)], 1)), a=lin(4, 3), b=lin(5, 2))
    grouping = discover(build(), lambda m: m(torch.zeros(1, 4), torch.zeros(1, 2)), ("a", "b"))
    found = [(s.tensor, s.dim, s.positions.tolist(), s.role) for s in grouping.groups[0].slices]
    assert found == [
        ("a.weight", 0, [[0], [1], [2]], "out"),
        ("a.bias", 0, [[0], [1], [2]], "out"),
        ("b.weight", 1, [[2], [3], [4]], "in"),
    ]
    assert [s.tensor for s in grouping.groups[0].root_slices] == ["a.weight", "a.bias"]


def test_flattened_convolution_has_a_block_of_positions_for_each_channel() -> None:
    build = net(lambda s, x: s.b(s.a(x).flatten(1)), a=of(nn.Conv2d, 1, 2, 1), b=lin(8, 3))
    grouping = discover(build(), lambda m: m(torch.zeros(1, 1, 2, 2)), ("a", "b"))
    assert grouping.groups[0].slices[-1].positions.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_nothing_is_disturbed() -> None:
    case = BY_NAME["concatenation of two, normalised"]
    torch.manual_seed(3)
    model = case.build().train()
    model.a.eval()
    case.trace(model).sum().backward()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = [p.grad.clone() for p in model.parameters()]
    parameters = list(model.parameters())
    modes = [module.training for module in model.modules()]
    components = case.components()
    state = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002

    def noisy(m: nn.Module) -> torch.Tensor:
        random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
        return case.trace(m)

    discover(model, noisy, components)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
    assert all(p is q for p, q in zip(model.parameters(), parameters, strict=True))
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state[0])
    assert random.getstate() == state[1]
    assert np.array_equal(np.random.get_state()[1], state[2][1])  # noqa: NPY002


def test_discovery_is_deterministic_and_picklable() -> None:
    model = LINEAR.build()
    one, other = (discover(model, LINEAR.trace, ("a", "b")) for _ in range(2))
    loaded = pickle.loads(pickle.dumps(one))
    for grouping in (other, loaded):
        assert grouping.names == one.names
        assert [s.positions.tolist() for s in grouping["a"].slices] == [s.positions.tolist() for s in one["a"].slices]


@pytest.mark.parametrize("protect", [("a",), ("b",)])
def test_protected_components_and_groups_are_locked(protect: tuple[str, ...]) -> None:
    grouping = discover(LINEAR.build(), LINEAR.trace, ("a", "b"), protect=protect)
    assert len(grouping) == 0
    assert grouping["a"].reason == "protected by the user"
    assert grouping["b"].reason == ("it is an output of the network")


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"nose.*a, b, .*input of a"):
        discover(LINEAR.build(), LINEAR.trace, ("a", "b"), protect=("nose",))
    with pytest.raises(ValueError, match=r"nose.*a, b"):
        discover(LINEAR.build(), LINEAR.trace, ("a", "nose"))


def test_a_parameter_outside_of_all_components_is_a_member_without_owner() -> None:
    build = net(lambda s, x: s.b(s.a(x) * s.v), a=lin(4, 6), v=lambda: nn.Parameter(torch.ones(6)), b=lin(6, 3))
    group = discover(build(), lambda m: m(torch.zeros(1, 4)), ("a", "b"))["a"]
    assert group.components == ("a", "b")
    assert group.members == ("a", "v", "b")


@pytest.mark.parametrize("outputs", [None, object(), {"x": [object()]}], ids=["None", "object", "nested object"])
def test_a_trace_that_hides_its_outputs_is_refused(outputs: object) -> None:
    with pytest.raises(TypeError, match="trace must return every output"):
        discover(LINEAR.build(), lambda m: (m(torch.zeros(1, 4)), outputs)[1], ("a", "b"))


def test_the_error_of_a_broken_trace_is_the_users() -> None:
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        discover(LINEAR.build(), lambda m: m(torch.zeros(1, 5)), ("a", "b"))


def test_without_verification_the_same_groups_are_proposed() -> None:
    assert discover(LINEAR.build(), LINEAR.trace, ("a", "b"), verify=False).names == ("a",)
