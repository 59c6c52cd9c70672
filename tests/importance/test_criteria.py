"""Channel criteria by hand, and over everything that is registered."""

import itertools

import pytest
import torch

from prune_env.importance import CRITERIA, Criterion, CriterionContext, ImportanceTracker, register_criterion
from prune_env.targets import Target


@pytest.fixture
def tracker(tiny):
    tracker = ImportanceTracker(tiny)
    for p in tiny.model.parameters():
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    tracker.after_backward(torch.optim.SGD(tiny.model.parameters(), lr=1.0))
    tracker.after_step()
    return tracker


class Task(Target):
    """Calibration on two samples; counts how often the model runs."""

    def __init__(self):
        self.runs = 0

    def labels(self, batch):
        return torch.arange(len(batch))

    def batches(self, generator):
        return itertools.repeat(torch.tensor([[1.0, 0.0, 2.0], [0.0, -1.0, 0.0]]))

    def loss(self, model, batch):
        self.runs += 1
        assert not model.training
        return model(batch).square().mean()


def context(tiny, tracker, task=None):
    return CriterionContext(task or Task(), tiny, tracker, torch.Generator().manual_seed(0))


def test_norms_by_hand(tiny, tracker):
    with torch.no_grad():
        tiny.model.a[0].weight[0] = torch.tensor([1.0, -2.0, 2.0])
        tiny.model.a[0].bias[0] = 4.0
    assert CRITERIA["l1"].values(context(tiny, tracker))[0].item() == pytest.approx(9.0)
    assert CRITERIA["l2"].values(context(tiny, tracker))[0].item() == pytest.approx(5.0)


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
        assert torch.allclose(CRITERIA[name].values(context(tiny, tracker))[2:], values, rtol=1e-5), name


@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_has_one_number_a_channel_and_repeats_itself(tiny, tracker, name):
    values = CRITERIA[name].values(context(tiny, tracker))
    assert values.shape == tiny.present.shape
    assert torch.isfinite(values).all()
    assert CRITERIA[name].signed or (values >= 0).all()
    assert torch.equal(values, CRITERIA[name].values(context(tiny, tracker)))


def test_activations_by_hand(tiny, tracker):
    """What `b.0` reads is relu(a.0); what `b.2` reads is relu(b.0)."""
    with torch.no_grad():
        tiny.model.a[0].weight.copy_(torch.tensor([[1.0, 2.0, 3.0], [-1.0, -1.0, 0.0]]))
        tiny.model.a[0].bias.copy_(torch.tensor([0.0, 0.5]))
        tiny.model.b[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, -1.0]]))
        tiny.model.b[0].bias.zero_()
    # a.0 gives (7, -0.5) and (-2, 1.5), after the ReLU (7, 0) and (0, 1.5); b.0 then (7, 0, -7) and (0, 3, -1.5).
    values = CRITERIA["activation"].values(context(tiny, tracker))
    assert values.tolist() == pytest.approx([3.5, 0.75, 3.5, 1.5, 0.0])
    keep = torch.tensor([False, True, True, True, True])
    tiny.cut(keep)
    tracker.after_surgery(keep)
    assert CRITERIA["activation"].values(context(tiny, tracker)).tolist() == pytest.approx([0.75, 0.0, 1.5, 0.0])


def test_one_pass_serves_all_criteria_that_ask_for_activations(tiny, tracker):
    task = Task()
    shared = context(tiny, tracker, task)
    tiny.model.train()
    CRITERIA["activation"].values(shared)
    runs = task.runs
    CRITERIA["activation"].values(shared)
    assert task.runs == runs > 0
    assert tiny.model.training


def test_a_criterion_is_registered_once():
    with pytest.raises(ValueError, match="already registered"):
        register_criterion("l1", Criterion())


def test_a_criterion_reads_known_measures():
    wrong = Criterion()
    wrong.measures = ("fischer",)
    with pytest.raises(ValueError, match="did you mean 'fisher'"):
        register_criterion("mine", wrong)
