"""Channel criteria by hand, and over everything that is registered."""

import pytest
import torch

from prune_env.importance import CRITERIA, ImportanceTracker


@pytest.fixture
def tracker(tiny):
    tracker = ImportanceTracker(tiny)
    for p in tiny.model.parameters():
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    tracker.after_backward(torch.optim.SGD(tiny.model.parameters(), lr=1.0))
    tracker.after_step()
    return tracker


def generator():
    return torch.Generator().manual_seed(0)


def test_norms_by_hand(tiny, tracker):
    with torch.no_grad():
        tiny.model.a[0].weight[0] = torch.tensor([1.0, -2.0, 2.0])
        tiny.model.a[0].bias[0] = 4.0
    assert CRITERIA["l1"](tiny, tracker, generator())[0].item() == pytest.approx(9.0)
    assert CRITERIA["l2"](tiny, tracker, generator())[0].item() == pytest.approx(5.0)


def test_gradients_by_hand(tiny, tracker):
    layer = tiny.model.b[0]
    g = torch.cat([layer.weight.grad, layer.bias.grad[:, None]], dim=1)
    w = torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach()
    expected = {
        "gradient": g.abs().mean(1),
        "fisher": g.square().mean(1),
        "taylor": (g * w).sum(1).abs(),
        "fisher_weight": (g * w).square().sum(1),
    }
    for name, values in expected.items():
        assert torch.allclose(CRITERIA[name](tiny, tracker, generator())[2:], values, rtol=1e-5), name


@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_has_one_number_a_channel_and_repeats_itself(tiny, tracker, name):
    values = CRITERIA[name](tiny, tracker, generator())
    assert values.shape == tiny.present.shape
    assert torch.isfinite(values).all() and (values >= 0).all()
    assert torch.equal(values, CRITERIA[name](tiny, tracker, generator()))
