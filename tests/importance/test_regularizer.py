"""The cosine-L1 schedule and its fused gradient, against the formula and against autograd."""

import math

import pytest
import torch

from prune_env.dense import CheckpointSpec
from prune_env.dense.checkpoints import fresh_train_state
from prune_env.importance import CosineL1, RegularizerConfig


def test_schedule_by_hand(tiny):
    l1 = CosineL1(tiny, steps_per_epoch=10, config=RegularizerConfig(base=1.0, low=0.1, high=2.0, period=20.0))
    assert l1.strength(0.0, 0) == pytest.approx(2.0)  # cos 0 = 1
    assert l1.strength(5.0, 0) == pytest.approx(0.1 + 0.95)  # cos(pi/2) = 0
    assert l1.strength(10.0, 0) == pytest.approx(0.1)  # cos(pi) = -1
    assert l1.strength(0.0, 1) == pytest.approx(0.1)  # phase 1 * 20 / 2 = 10 epochs
    assert l1.strength(20.0, 1) == pytest.approx(l1.strength(0.0, 1))


def test_weight_is_constant_or_grows_from_zero(tiny):
    constant = CosineL1(tiny, steps_per_epoch=10)
    ramp = CosineL1(tiny, steps_per_epoch=10, config=RegularizerConfig(weight="ramp", ramp=4.0))
    assert [constant.weight(t) for t in (0.0, 1.0, 9.0)] == [1.0, 1.0, 1.0]
    assert [ramp.weight(t) for t in (0.0, 1.0, 4.0, 9.0)] == [0.0, 0.25, 1.0, 1.0]
    assert ramp.coefficients() == [0.0, 0.0]
    ramp.step = 10
    assert ramp.coefficients() == pytest.approx(
        [0.25 * s * ramp.strength(1.0, g) for g, s in enumerate((8**-0.5, 1 / 3))]
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"weight": "quick"}, "ramp"), ({"period": 0.0}, "period"), ({"low": 3.0}, "low must be at most high")],
)
def test_settings_are_checked(wrong, said):
    with pytest.raises(ValueError, match=said):
        RegularizerConfig(**wrong)


def test_coefficients_divide_by_the_root_of_the_size(tiny):
    l1 = CosineL1(tiny, steps_per_epoch=10, config=RegularizerConfig(base=1.0), step=50)
    expected = [1.0 / math.sqrt(n) * l1.strength(5.0, i) for i, n in enumerate((8, 9))]
    assert l1.coefficients() == pytest.approx(expected)


def test_gradient_equals_autograd(tiny):
    l1 = CosineL1(tiny, steps_per_epoch=10, config=RegularizerConfig(base=1.0), step=3)
    model, x = tiny.model, torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    roots = [(model.a[0], 0), (model.b[0], 1)]
    penalty = sum(l1.coefficients()[g] * (layer.weight.abs().sum() + layer.bias.abs().sum()) for layer, g in roots)
    (model(x).square().mean() + penalty).backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model(x).square().mean().backward()
    l1.after_backward(torch.optim.SGD(model.parameters(), lr=1.0))
    for p, gradient in zip(model.parameters(), expected, strict=True):
        assert torch.allclose(p.grad, gradient, atol=1e-6)


def test_clock_and_surgery(tiny):
    l1 = CosineL1(tiny, steps_per_epoch=10)
    l1.after_step()
    assert l1.step == 1
    keep = torch.tensor([True, False, True, True, False])
    tiny.cut(keep)
    l1.after_surgery(keep)
    for p in tiny.model.parameters():
        p.grad = torch.zeros_like(p)
    l1.after_backward(torch.optim.SGD(tiny.model.parameters(), lr=1.0))
    assert tiny.model.a[0].weight.grad.abs().min() > 0  # the new, smaller parameters are reached
    assert tiny.model.b[2].weight.grad.abs().max() == 0  # the output layer is no root of a group


def test_later_groups_are_ahead_in_phase():
    """phi_i = i T / n is added to the time: with three groups the sign shows, with two it does not."""
    surgeon = fresh_train_state(CheckpointSpec("autoencoder", {"hidden_layers": 1})).surgeon
    l1 = CosineL1(surgeon, steps_per_epoch=10, config=RegularizerConfig(base=1.0, low=0.1, high=2.0, period=12.0))
    assert len(surgeon.grouping) == 3
    assert l1.strength(2.0, 1) == pytest.approx(0.1)  # 2 + 4 of 12 epochs: cos(pi) = -1
    assert l1.strength(2.0, 2) == pytest.approx(0.1 + 0.95 * 1.5)  # 2 + 8: cos(5 pi / 3) = 1/2
