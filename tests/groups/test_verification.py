"""A proof is worth what it can refute: every kind of wrong group must be caught."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from constructs import BY_NAME
from networks import Case, lin, net, seq
from torch import nn

from prune_env.groups import Group, Grouping, Slice, discover, verify
from prune_env.groups.subject import Subject
from prune_env.groups.tracing.equivalence import Classes
from prune_env.groups.tracing.operators import RULES
from prune_env.groups.tracing.propagation import propagate
from prune_env.groups.tracing.randomize import randomize
from prune_env.groups.tracing.replica import copied
from prune_env.groups.trials import DryCut, Permutation
from prune_env.groups.verification import prove, rounds

NAMES = (
    "linear",
    "batch norm",
    "layer norm",
    "residual",
    "gate",
    "concatenation of two, normalised",
    "convolution, flatten, linear",
    "recurrent dynamics, raw action first",
    "GRU",
)
SOME = [BY_NAME[name] for name in NAMES]


def prepared(case: Case) -> tuple[nn.Module, list[Group]]:
    torch.manual_seed(0)
    model = case.build().eval()
    classes = Classes(propagate(model, case.trace)[0], case.components())
    return model, [group for group in classes.groups() if group.kind != "locked"]


def subject_of(model: nn.Module, case: Case, groups: list[Group]) -> Subject:
    return Subject(randomize(copied(model), case.trace), groups)


def cut_fails(model: nn.Module, case: Case, groups: list[Group]) -> list[str | None]:
    cut = DryCut(subject_of(model, case, groups))
    return [cut(dict.fromkeys([g.name for g in groups], width)) for width in ("random", "half", "least", "most")]


def shifted(s: Slice) -> Slice:
    return replace(s, positions=np.roll(s.positions, 1, axis=0))


@pytest.mark.parametrize("case", SOME, ids=lambda case: case.name)
def test_true_groups_pass_both_trials(case: Case) -> None:
    model, groups = prepared(case)
    assert prove(model, case.trace, groups).failed == {}


def test_a_grouping_of_unknown_origin_can_be_proved() -> None:
    case = SOME[0]
    model = case.build().train()
    grouping = discover(model, case.trace, case.components())
    assert verify(model, case.trace, grouping) == {}
    assert model.training
    wrong = replace(grouping.groups[0], slices=grouping.groups[0].slices[:-1])
    assert set(verify(model, case.trace, Grouping((wrong,)))) == {"a"}


@pytest.mark.parametrize("case", SOME, ids=lambda case: case.name)
def test_permutation_notices_every_missing_and_every_mistaken_member(case: Case) -> None:
    model, groups = prepared(case)
    for group in groups:
        assert Permutation(subject_of(model, case, [group]))([group.name]) is None
        for i, s in enumerate(group.slices):
            others = group.slices[:i], group.slices[i + 1 :]
            for wrong in (others[0] + others[1], (*others[0], shifted(s), *others[1])):
                wrong_group = replace(group, slices=wrong)
                assert Permutation(subject_of(model, case, [wrong_group]))([group.name]), f"{s.tensor} {s.dim}"


@pytest.mark.parametrize("case", SOME, ids=lambda case: case.name)
def test_dry_cut_notices_every_missing_and_every_mistaken_member(case: Case) -> None:
    model, groups = prepared(case)
    for group in groups:
        assert cut_fails(model, case, [group]) == [None] * 4
        for i, s in enumerate(group.slices):
            others = group.slices[:i], group.slices[i + 1 :]
            for wrong in (others[0] + others[1], (*others[0], shifted(s), *others[1])):
                assert any(cut_fails(model, case, [replace(group, slices=wrong)])), f"{s.tensor} {s.dim}"


def test_two_halves_of_one_group_do_not_cover_for_each_other() -> None:
    """With two channels both halves can only be swapped, which together is no mistake."""
    build = net(lambda s, x: s.c(s.a(x) + s.b(x)), a=lin(4, 2), b=lin(4, 2), c=lin(2, 3))
    case = Case("halves", build, ((1, 4),), {})
    model, (group,) = prepared(case)
    one = replace(group, name="one", slices=tuple(s for s in group.slices if s.layer == "a"))
    other = replace(group, name="other", slices=tuple(s for s in group.slices if s.layer != "a"))
    permutation = Permutation(subject_of(model, case, [one, other]))
    assert permutation(["one", "other"]) is None
    assert permutation(["one"])
    assert permutation(["other"])


def test_a_failing_group_is_named_and_the_others_pass() -> None:
    build = net(lambda s, x: s.c(s.b(s.a(x)).view(len(x), 2, 3).flatten(1)), a=lin(4, 5), b=lin(5, 6), c=lin(6, 2))
    grouping = discover(build(), lambda m: m(torch.zeros(1, 4)), ("a", "b", "c"))
    assert grouping.names == ("a",)
    assert "dry cut" in grouping["b"].reason


def test_of_groups_that_fail_only_together_the_first_is_locked() -> None:
    """Both lose channels alone without harm, but the network allows only one of them to be narrow."""

    def forward(s: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if s.a.out_features < 6 and s.b.out_features < 6:
            raise RuntimeError("too narrow")
        return s.c(s.a(x)) + s.d(s.b(x))

    build = net(forward, a=lin(4, 6), b=lin(4, 6), c=lin(6, 2), d=lin(6, 2))
    grouping = discover(build(), lambda m: m(torch.zeros(1, 4)), ("a", "b", "c", "d"))
    assert grouping.names == ("b",)
    assert grouping["a"].reason == "together with b a dry cut fails with RuntimeError: too narrow"


def test_a_randomised_network_hides_nothing() -> None:
    """Zeros for weights and inputs, and a depth that lets signals vanish."""
    depth = 60
    build = net(lambda s, x: s.b(s.a(x)), a=seq(*[seq(lin(24, 24), nn.ReLU)] * depth), b=lin(24, 3))
    torch.manual_seed(0)
    model = build().eval()
    nn.init.zeros_(model.b.weight)
    run = randomize(model, lambda m: m(torch.zeros(1, 24)))
    (before,) = run()
    assert before.abs().max() > 1e-3
    with torch.no_grad():
        model.a[0][0].weight.copy_(model.a[0][0].weight.roll(1, 0))
    (after,) = run()
    assert (after - before).abs().max() > 1e-3 * before.abs().max()


def test_noise_that_the_network_draws_is_held_still() -> None:
    build = net(lambda s, x: s.b(s.a(x) + torch.randn_like(s.a(x))), a=lin(4, 6), b=lin(6, 3))
    assert discover(build(), lambda m: m(torch.zeros(1, 4)), ("a", "b")).names == ("a",)


def test_a_constant_input_that_must_stay_constant_is_left_alone() -> None:
    """A random input would make the square root infinite."""
    build = net(lambda s, x: s.b(s.a(x)) * x.sum().sqrt(), a=lin(4, 6), b=lin(6, 3))
    grouping = discover(build(), lambda m: m(torch.ones(1, 4)), ("a", "b"))
    assert grouping.names == ("a",)


def test_of_any_two_groups_each_is_tried_without_the_other_in_few_rounds() -> None:
    for count in range(1, 30):
        subsets = [set(subset) for subset in rounds(count)]
        assert all(subsets)
        pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
        assert all(any(i in subset and j not in subset for subset in subsets) for i, j in pairs)
    assert len(rounds(256)) == 11


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (lambda p, a, out: tuple(reversed(p.dims(a["self"]))), "unexpected sizes"),
        (lambda p, a, out: p.dims(a["nobody"]), "cannot be followed"),
        (lambda p, a, out: (p.dims(a["self"])[0], (p.dims(a["self"])[1][0][::-1].copy(),)), "dry cut"),
        (lambda p, a, out: tuple(p.ledger.fresh(n) for n in out.shape), "no layer"),
    ],
    ids=["wrong sizes", "crash", "channels reversed", "channels forgotten"],
)
def test_even_a_wrong_rule_corrupts_nothing(monkeypatch: pytest.MonkeyPatch, rule: Any, reason: str) -> None:
    monkeypatch.setitem(RULES, "relu", rule)
    case = BY_NAME["linear"]
    grouping = discover(case.build(), case.trace, case.components())
    assert len(grouping) == 0
    assert any(reason in str(group.reason) for group in grouping.locked)
