"""What probing finds about operators that are defined here, and that it leaves everything else alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from networks import lin, net, of
from torch import Tensor, nn

from prune_env.groups import discover
from prune_env.groups.tracing import probing
from prune_env.groups.tracing.probing import Tie, can_be_probed, probe

CALLS: list[str] = []


def _op(name: str, signature: str, function: Any, **options: Any) -> Any:
    return torch.library.custom_op(f"prune_env_test::{name}", function, schema=signature, **options)


def _counted(x: Tensor, y: Tensor) -> Tensor:
    CALLS.append("add_scaled")
    return x + 2 * y


def _noisy(x: Tensor) -> Tensor:
    return x + torch.randn_like(x)


def _sorted_if_large(x: Tensor) -> Tensor:
    return x.sort(1)[0] if x.abs().max() > 8 else x.clone()


def _add_to(x: Tensor, y: Tensor) -> None:
    x += y


OPERATORS = {
    "add_scaled": _op("add_scaled", "(Tensor x, Tensor y) -> Tensor", _counted, mutates_args=()),
    "normalised": _op(
        "normalised", "(Tensor x, Tensor w) -> Tensor", lambda x, w: w * (x - x.mean(1, True)), mutates_args=()
    ),
    "product": _op("product", "(Tensor x, Tensor y) -> Tensor", lambda x, y: x @ y, mutates_args=()),
    "total": _op("total", "(Tensor x) -> Tensor", lambda x: x.sum(1), mutates_args=()),
    "running": _op("running", "(Tensor x) -> Tensor", lambda x: x.cumsum(1), mutates_args=()),
    "first": _op("first", "(Tensor x) -> Tensor", lambda x: x * x[:, :1], mutates_args=()),
    "halves": _op("halves", "(Tensor x) -> Tensor", lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), mutates_args=()),
    "numbered": _op(
        "numbered",
        "(Tensor x) -> Tensor",
        lambda x: x * torch.arange(float(x.shape[1]), dtype=x.dtype),
        mutates_args=(),
    ),
    "noisy": _op("noisy", "(Tensor x) -> Tensor", _noisy, mutates_args=()),
    "sorted_if_large": _op("sorted_if_large", "(Tensor x) -> Tensor", _sorted_if_large, mutates_args=()),
    "swapped": _op("swapped", "(Tensor x) -> Tensor", lambda x: x.t().contiguous(), mutates_args=()),
    "outer": _op("outer", "(Tensor x) -> Tensor", lambda x: x[:, :, None] * x[:, None], mutates_args=()),
    "both": _op("both", "(Tensor x) -> (Tensor, Tensor)", lambda x: (x.sin(), x.sum(1)), mutates_args=()),
    "two": _op("two", "(Tensor x, Tensor y) -> Tensor[]", lambda x, y: [x.sin(), y.cos()], mutates_args=()),
    "add_to": _op("add_to", "(Tensor(a!) x, Tensor y) -> ()", _add_to, mutates_args=("x",)),
    "picked": _op("picked", "(Tensor x, Tensor i) -> Tensor", lambda x, i: x[i].clone(), mutates_args=()),
    "float_only": _op("float_only", "(Tensor x) -> Tensor", lambda x: _single(x).sin(), mutates_args=()),
}


def _single(x: Tensor) -> Tensor:
    if x.dtype != torch.float32:
        raise TypeError("this kernel takes single precision")
    return x


def ties(name: str, *args: Tensor) -> set[Tie]:
    """What probing says when all dimensions are tried."""
    live = [(i, d) for i, t in enumerate(args) for d in range(t.dim()) if t.is_floating_point()]
    return set(probe(OPERATORS[name]._opoverload, args, {}, live))


def tie(inputs: tuple[tuple[int, int], ...], outputs: tuple[tuple[int, int], ...], coupled: bool = False) -> Tie:
    return Tie(inputs, outputs, coupled)


X, SQUARE, VECTOR = torch.zeros(3, 4), torch.zeros(4, 4), torch.zeros(4)
BATCH = tie(((0, 0),), ((0, 0),))


@pytest.mark.parametrize(
    ("name", "args", "wanted"),
    [
        ("add_scaled", (X, X), {tie(((0, 0), (1, 0)), ((0, 0),)), tie(((0, 1), (1, 1)), ((0, 1),))}),
        ("add_scaled", (SQUARE, SQUARE), {tie(((0, 0), (1, 0)), ((0, 0),)), tie(((0, 1), (1, 1)), ((0, 1),))}),
        ("add_scaled", (X, VECTOR), {BATCH, tie(((0, 1), (1, 0)), ((0, 1),))}),
        ("normalised", (X, VECTOR), {BATCH, tie(((0, 1), (1, 0)), ((0, 1),), coupled=True)}),
        ("product", (X, SQUARE), {BATCH, tie(((1, 1),), ((0, 1),))}),
        ("product", (SQUARE, SQUARE), {BATCH, tie(((1, 1),), ((0, 1),))}),
        ("total", (X,), {BATCH}),
        ("total", (SQUARE,), {BATCH}),
        ("running", (X,), {BATCH}),
        ("first", (X,), {BATCH}),
        ("halves", (X,), {BATCH}),
        ("numbered", (X,), {BATCH}),
        ("noisy", (X,), set()),
        ("sorted_if_large", (X,), {BATCH}),
        ("swapped", (X,), {tie(((0, 0),), ((0, 1),)), tie(((0, 1),), ((0, 0),))}),
        ("swapped", (SQUARE,), {tie(((0, 0),), ((0, 1),)), tie(((0, 1),), ((0, 0),))}),
        ("outer", (X,), {BATCH, tie(((0, 1),), ((0, 1), (0, 2)))}),
        ("both", (X,), {tie(((0, 0),), ((0, 0), (1, 0)))}),
        ("two", (X, X), {tie(((i, d),), ((i, d),)) for i in (0, 1) for d in (0, 1)}),
        ("add_to", (X, X), {tie(((0, 0), (1, 0)), ((0, 0),)), tie(((0, 1), (1, 1)), ((0, 1),))}),
        ("picked", (X, torch.tensor([2, 0])), {tie(((0, 1),), ((0, 1),))}),
        ("picked", (X, torch.tensor([0, 0])), set()),
        ("float_only", (X,), {BATCH, tie(((0, 1),), ((0, 1),))}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_ties_are_found_and_mixing_is_not_mistaken_for_one(
    name: str, args: tuple[Tensor, ...], wanted: set[Tie]
) -> None:
    assert ties(name, *args) == wanted


def test_nothing_of_the_users_is_changed() -> None:
    x, y = torch.ones(3, 4), torch.ones(3, 4)
    state = torch.get_rng_state()
    ties("add_to", x, y)
    assert torch.equal(x, torch.ones(3, 4))
    assert torch.equal(torch.get_rng_state(), state)


def test_an_operator_is_probed_once_for_the_same_shapes() -> None:
    probing._KNOWN.clear()
    ties("add_scaled", X, X)
    first = len(CALLS)
    ties("add_scaled", X + 1, X)
    assert len(CALLS) == first
    ties("add_scaled", X[:2], X[:2])
    assert len(CALLS) > first


def test_inner_kernels_of_pytorch_are_not_tried() -> None:
    assert not can_be_probed(torch.ops.aten._linalg_svd.default)
    assert not can_be_probed(torch.ops.aten.native_batch_norm.default)
    assert not can_be_probed(torch.ops.aten.convolution_backward.default)
    assert can_be_probed(torch.ops.aten.linalg_qr.default)
    assert can_be_probed(OPERATORS["total"]._opoverload)


# ---------------------------------------------------------------------- in networks
@pytest.fixture(autouse=True)
def _gradients() -> Iterator[None]:
    """The operators have no backward formula."""
    with torch.no_grad():
        yield


def _between(name: str, *more: Any) -> nn.Module:
    op = OPERATORS[name]
    return net(lambda s, x: s.b(op(s.a(x), *more)), a=lin(4, 6), b=lin(6, 3))()


@pytest.mark.parametrize("name", ["running", "first", "halves", "numbered", "noisy"])
def test_channels_are_locked_with_the_operators_name(name: str) -> None:
    grouping = discover(_between(name), lambda m: m(torch.zeros(3, 4)), ("a", "b"), verify=False)
    assert grouping.names == ()
    assert f"prune_env_test::{name}" in grouping["a"].reason


def test_channels_beside_what_is_mixed_are_followed() -> None:
    op = OPERATORS["running"]
    model = net(lambda s, x: s.b(op(s.a(x).t().contiguous()).t()), a=lin(4, 6), b=lin(6, 3))()
    grouping = discover(model, lambda m: m(torch.zeros(3, 4)), ("a", "b"), verify=False)
    assert grouping.names == ("a",)


def test_a_tensor_that_is_changed_but_not_returned_is_followed() -> None:
    def forward(s: Any, x: Tensor) -> Tensor:
        h = s.a(x) + 0
        OPERATORS["add_to"](h, s.c(x))
        return s.b(h)

    model = net(forward, a=lin(4, 6), c=lin(4, 6), b=lin(6, 3))()
    grouping = discover(model, lambda m: m(torch.zeros(3, 4)), ("a", "c", "b"), verify=False)
    assert grouping["a"].members == ("a", "c", "b")


def test_a_scale_of_ones_own_normalisation_belongs_to_the_group() -> None:
    op = OPERATORS["normalised"]
    build = net(lambda s, x: s.b(op(s.a(x), s.n.weight)), a=lin(4, 6), n=of(nn.LayerNorm, 6, bias=False), b=lin(6, 3))
    grouping = discover(build(), lambda m: m(torch.zeros(3, 4)), ("a", "n", "b"), verify=False)
    assert grouping["a"].members == ("a", "n", "b")
