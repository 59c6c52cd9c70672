from __future__ import annotations

import numpy as np
import torch
from networks import lin, net
from torch import nn

from prune_env.groups import Group, Slice
from prune_env.groups.subject import Subject
from prune_env.groups.tracing.randomize import Runner

GROUP = Group(
    "a",
    "component",
    ("a",),
    2,
    "a",
    tuple(
        Slice(tensor, dim, np.array([[0], [1]]), "out" if dim == 0 else "in")
        for tensor, dim in (("a.weight", 0), ("a.bias", 0), ("b.weight", 1))
    ),
)


def subject(factor: float = 1.0) -> Subject:
    model = net(lambda s, x: s.b(s.a(x)) * factor, a=lin(1, 2), b=lin(2, 1))().double()
    with torch.no_grad():
        for tensor, values in zip(model.parameters(), ([[1.0], [2.0]], [3.0, 4.0], [[5.0, 6.0]], [7.0]), strict=True):
            tensor.copy_(torch.tensor(values))
    run = Runner(model, lambda m: m(torch.ones(1, 1, dtype=torch.float64)), random_inputs=False, precise=True)
    return Subject(run, [GROUP])


def values(model: nn.Module) -> list[list[float]]:
    return [p.flatten().tolist() for p in model.parameters()]


def test_outputs_and_how_they_vary_by_hand() -> None:
    """5 (1 + 3) + 6 (2 + 4) + 7, and without the second channel 5 (1 + 3) + 7."""
    one = subject()
    assert one.outputs[0].tolist() == [[63.0]]
    assert one.scale[0].tolist() == [[36.0]]


def test_masked_and_permuted_weights_by_hand_are_put_back() -> None:
    one = subject()
    model = one.run.model
    before = values(model)
    with one.masked({"a": np.array([False, True])}):
        assert values(model) == [[0.0, 2.0], [0.0, 4.0], [0.0, 6.0], [7.0]]
    with one.masked({"a": np.array([True, False])}, factor=2.0):
        assert values(model) == [[1.0, 4.0], [3.0, 8.0], [5.0, 12.0], [7.0]]
    with one.permuted({"a": np.array([1, 0])}):
        assert values(model) == [[2.0, 1.0], [4.0, 3.0], [6.0, 5.0], [7.0]]
        assert one.run()[0].tolist() == [[63.0]]
    assert values(model) == before


def test_only_a_group_that_the_outputs_react_to_can_be_proved() -> None:
    assert subject().unmeasured() == {}
    assert subject(factor=0.0).unmeasured() == {
        "a": "nothing can be proved: no output of the trace reacts to its channels"
    }
