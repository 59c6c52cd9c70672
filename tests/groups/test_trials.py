"""Kinds of networks that hide a mistake, and siblings that are right: what is prunable must be right by value."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from networks import FLAT, IMAGE, IO, TIME, Build, Case, conv, lin, masked, net, of, random_inputs, seq, trained
from torch import Tensor, nn

from prune_env.groups import Grouping, Surgeon, discover, reference, subject, trials
from prune_env.targets.autoencoder import Autoencoder


def grouping_of(case: Case) -> Grouping:
    torch.manual_seed(0)
    return discover(case.build(), case.trace, case.components())


def _case(name: str, forward: Callable[..., Any], inputs: Any = FLAT, exact: bool = True, **layers: Build) -> Case:
    return Case(name, net(forward, **(layers or {"a": lin(4, 6), "b": lin(6, 3)})), inputs, {}, IO, exact)


def gated(s: Any, x: Tensor) -> Tensor:
    """Channel 0 gates all channels, so its channels are not alike."""
    h = s.a(x)
    return s.b(h * h[:, :1].sigmoid())


def masked_logits(logits: Tensor, fill: float) -> Tensor:
    return logits.masked_fill(torch.tensor([True, False, False]), fill)


def shuffled(h: Tensor, parts: int) -> Tensor:
    return h.view(len(h), parts, h.shape[1] // parts, *h.shape[2:]).transpose(1, 2).reshape(h.shape)


def only_in_training(s: Any, x: Tensor) -> Tensor:
    h = s.a(x)
    return s.b(h * h[:, :1].sigmoid() if s.training else h)


def only_in_evaluation(s: Any, x: Tensor) -> Tensor:
    h = s.a(x)
    return s.b(h if s.training else h * h[:, :1].sigmoid())


FILLS = (-1e8, -math.inf, torch.finfo(torch.float32).min)
LOCKED = [
    (_case("gate of one channel", gated), "order"),
    *(
        (
            _case(f"the same behind logits masked with {fill}", lambda s, x, f=fill: masked_logits(gated(s, x), f)),
            "order",
        )
        for fill in FILLS
    ),
    (_case("the same in outputs near zero", lambda s, x: 1e-20 * gated(s, x)), "order"),
    (_case("the same beside a huge constant", lambda s, x: gated(s, x) + 1e5), "order"),
    (_case("a gate that only training has", only_in_training), "order"),
    (_case("a gate that only evaluation has", only_in_evaluation), "order"),
    (_case("argmax", lambda s, x: s.b(s.a(x)).argmax(-1)), "no output is a real number"),
    (_case("rounded to integers", lambda s, x: s.b(s.a(x)).long()), "no output is a real number"),
    (_case("sign", lambda s, x: s.b(s.a(x)).sign()), "no output of the trace reacts"),
    (_case("times zero", lambda s, x: s.b(s.a(x)) * 0), "no output of the trace reacts"),
    (_case("empty", lambda s, x: s.b(s.a(x))[:0]), "all outputs are empty"),
    (_case("not a number", lambda s, x: s.b(s.a(x)) * math.nan), "no output is finite"),
    (_case("fixed view of two channels", lambda s, x: s.b(s.a(x).view(-1, 2)), a=lin(4, 2), b=lin(2, 3)), "dry cut"),
]


@pytest.mark.parametrize(("case", "reason"), LOCKED, ids=lambda x: x.name if isinstance(x, Case) else "")
def test_what_is_not_proved_is_locked_and_says_why(case: Case, reason: str) -> None:
    grouping = grouping_of(case)
    assert "a" not in grouping.names
    assert reason in str(grouping["a"].reason)


def test_a_branch_that_only_training_takes_belongs_to_the_group() -> None:
    layers = {"a": lin(4, 6), "b": lin(6, 3), "c": lin(6, 3)}
    for when in (True, False):
        case = _case("", lambda s, x, w=when: (s.b(h := s.a(x)), s.c(h)) if s.training is w else s.b(s.a(x)), **layers)
        assert grouping_of(case)["a"].members == ("a", "b", "c")


def deviation(s: Any, x: Tensor, unbiased: bool = True) -> Tensor:
    h = s.a(x)
    h = (h - h.mean(-1, keepdim=True)) / (h.std(-1, keepdim=True, unbiased=unbiased) + 1e-6)
    return s.b(h.relu())


@pytest.mark.parametrize(
    ("forward", "least"),
    [
        (deviation, 2),
        (lambda s, x: deviation(s, x, unbiased=False), 1),
        (lambda s, x: s.b((h := s.a(x)) * (h.var(-1, keepdim=True) + 1e-6).rsqrt()), 2),
        (lambda s, x: s.b((h := s.a(x)) / torch.var_mean(h, -1, keepdim=True)[0].sqrt()), 2),
        (lambda s, x: s.b((h := s.a(x)) / h.square().mean(-1, keepdim=True).sqrt()), 1),
    ],
    ids=["unbiased deviation", "biased deviation", "variance", "var_mean", "mean square"],
)
def test_a_group_keeps_as_many_channels_as_stay_finite(forward: Callable[..., Tensor], least: int) -> None:
    case = _case("", forward)
    model, grouping = trained(case), grouping_of(case)
    assert grouping["a"].least == least
    Surgeon(model, grouping).cut(torch.arange(6) == 4)
    assert model.a.out_features == least
    outputs = model(*random_inputs(case))
    outputs.sum().backward()
    assert outputs.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_the_least_width_of_one_group_leaves_the_others_alone() -> None:
    def forward(s: Any, x: Tensor) -> Tensor:
        h = s.a(x)
        return s.b(s.c(h / h.std(-1, keepdim=True)).relu())

    grouping = grouping_of(_case("", forward, a=lin(4, 6), c=lin(6, 5), b=lin(5, 3)))
    assert {g.name: g.least for g in grouping} == {"a": 2, "c": 1}


def heads(s: Any, x: Tensor, size: int = 2) -> Tensor:
    """Attention whose heads have a fixed size, so that whole heads go."""
    q, k, v = (layer(x).unflatten(-1, (-1, size)).transpose(1, 2) for layer in (s.a, s.k, s.v))
    return s.b(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


ATTENTION = {"a": lin(4, 4), "k": lin(4, 4), "v": lin(4, 4), "b": lin(4, 3)}
SPLIT = [
    *(
        _case(f"shuffle of {n} parts", lambda s, x, n=n: s.b(shuffled(s.a(x), n)), IMAGE, a=conv(2, 12), b=conv(12, 3))
        for n in (2, 3, 4)
    ),
    *(
        _case(f"shuffle of parts of {n}", lambda s, x, n=n: s.b(shuffled(s.a(x), s.a.out_channels // n)), IMAGE,
              a=conv(2, 12), b=conv(12, 3))
        for n in (2, 3, 6)
    ),
    _case(  # right by chance if one part stays, and wrong if two do
        "shuffle of three parts of three", lambda s, x: s.b(shuffled(s.a(x), 3)), a=lin(4, 9), b=lin(9, 3)
    ),
    _case("two heads of a fixed size", heads, TIME, **ATTENTION),
    _case("latents of four", lambda s, x: s.b(s.a(x).unflatten(1, (-1, 4)).softmax(-1).flatten(1)), a=lin(4, 8),
          b=lin(8, 3)),
    _case("logits masked", lambda s, x: masked_logits(s.b(s.a(x)), -1e8)),
    _case("logits masked with infinity", lambda s, x: masked_logits(s.b(s.a(x)), -math.inf)),
    _case("dropout", lambda s, x: s.b(s.n(s.a(x))), a=lin(4, 6), n=of(nn.Dropout, 0.5), b=lin(6, 3)),
    _case("deep", lambda s, x: s.b(s.a(x)), a=seq(*[seq(lin(6, 6), nn.ReLU)] * 8), b=lin(6, 3), inputs=((2, 6),)),
]  # fmt: skip


@pytest.mark.parametrize("case", SPLIT, ids=lambda case: case.name)
def test_whatever_is_prunable_computes_what_the_masked_network_does(case: Case) -> None:
    model, grouping = trained(case).double(), grouping_of(case)
    inputs = [x.double() for x in random_inputs(case)]
    for seed in range(4):
        torch.manual_seed(seed)
        keep = torch.cat(
            [torch.arange(0), *(torch.randperm(g.channels) < max(1, seed * g.channels // 4) for g in grouping)]
        )
        cut, dense = copy.deepcopy(model), masked(model, grouping, keep.bool())
        Surgeon(cut, grouping).cut(keep.bool())
        torch.testing.assert_close(cut(*inputs), dense(*inputs), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["shuffle of parts of 2", "two heads of a fixed size", "latents of four", "deep"])
def test_parts_that_go_as_a_whole_are_found(name: str) -> None:
    case = next(case for case in SPLIT if case.name == name)
    expected = {"shuffle of parts of 2": 6, "two heads of a fixed size": 2, "latents of four": 2, "deep": 6}[name]
    assert [g.channels for g in grouping_of(case)][:1] == [expected]


# ---------------------------------------------------------------------- breaking the proof on purpose
def never(*_: Any, **__: Any) -> bool:
    return False


@pytest.mark.parametrize(
    "case",
    [LOCKED[0][0], _case("shuffle", lambda s, x: s.b(shuffled(s.a(x), 2)), a=lin(4, 8), b=lin(8, 3))],
    ids=lambda case: case.name,
)
def test_without_comparing_values_the_proof_lets_wrong_groups_pass(monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    for module in (reference, subject, trials):
        monkeypatch.setattr(module, "differs", never)
    monkeypatch.setattr(subject.Subject, "unmeasured", lambda self: {})
    assert "a" in grouping_of(case).names


def test_without_cutting_groups_of_two_the_proof_lets_wrong_groups_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    keep = trials.DryCut._keep
    monkeypatch.setattr(
        trials.DryCut, "_keep", lambda self, g, w, *more: keep(self, g, None if g.channels == 2 else w, *more)
    )
    case = LOCKED[-1][0]
    assert "a" in grouping_of(case).names


def test_rounding_in_gradients_that_are_zero_locks_nothing() -> None:
    """A batch normalisation takes away what the bias before it adds: its gradient is rounding error alone."""
    target, generator = Autoencoder(hidden_layers=10), torch.Generator().manual_seed(0)
    x = torch.randn(4, 64, generator=generator)
    grouping = discover(target.build(generator), lambda m: m(x), ["encoder", "decoder"])
    assert len(grouping) >= 19
    assert not [group.name for group in grouping.locked if "gradient" in (group.reason or "")]


def test_rounding_that_many_normalisations_blow_up_locks_nothing() -> None:
    """Over few samples, and for biases whose gradient is nothing but rounding."""
    target, generator = Autoencoder(hidden_layers=10), torch.Generator().manual_seed(0)
    x = torch.randn(4, 64, generator=generator)
    grouping = discover(target.build(generator), lambda m: m(x), ["encoder", "decoder"])
    assert len(grouping) == 21
