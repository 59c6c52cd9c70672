"""Criteria from activations, curvature and reconstruction: by hand, and against independent versions."""

import itertools

import pytest
import torch
from torch import nn

from prune_env.dense.train_state import TrainState
from prune_env.groups import Surgeon, discover
from prune_env.importance import CRITERIA, CriterionContext, ImportanceTracker
from prune_env.importance.criteria.reconstruction import Lasso, ThiNet, contributions
from prune_env.importance.reads import given_to, patches_of
from prune_env.open_sets import UnknownOptionError, configured
from prune_env.targets import Target, make_target
from prune_env.training import train


class Line(Target):
    """Two hidden channels that read the input as it is, and one output; the batch is chosen by the test."""

    components = ("net",)

    def __init__(self, batch, classes=None):
        self.batch, self.classes = torch.tensor(batch), classes

    def build(self, generator=None):
        model = nn.Module()
        model.net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
        with torch.no_grad():
            model.net[0].weight.copy_(torch.eye(2))
            model.net[0].bias.zero_()
            model.net[2].weight.copy_(torch.tensor([[2.0, -3.0]]))
        return model

    def trace(self, model):
        return model.net(torch.rand(3, 2))

    def batches(self, generator):
        return itertools.repeat(self.batch)

    def loss(self, model, batch):
        return model.net(batch).square().mean()

    def labels(self, batch):
        return None if self.classes is None else torch.tensor(self.classes)


BATCH = [[1.0, -1.0], [3.0, 2.0], [-2.0, 4.0], [0.0, 1.0]]  # behind the ReLU: (1, 3, 0, 0) and (0, 2, 4, 1)


def context_of(target, model=None):
    model = target.build() if model is None else model
    surgeon = Surgeon(model, discover(model, target.trace, target.components))
    return CriterionContext(target, surgeon, ImportanceTracker(surgeon), torch.Generator().manual_seed(0))


def values(name, target, model=None):
    return configured("criterion", name, CRITERIA).values(context_of(target, model))


def test_activations_of_four_numbers_by_hand():
    expected = {
        "activation": [1.0, 1.75],
        "activation_variance": [1.5, 2.1875],
        "apoz": [0.5, 0.75],
        "wanda": [2 * 2.5**0.5, 3 * 5.25**0.5],
    }
    for name, numbers in expected.items():
        assert values(name, Line(BATCH)).tolist() == pytest.approx(numbers), name


def test_discrimination_by_hand():
    """Classes (1, 3 | 0, 0) have means 2 and 0; (0, 2 | 4, 1) have 1 and 2.5."""
    found = values("discrimination", Line(BATCH, classes=[0, 0, 7, 7]))
    assert found.tolist() == pytest.approx([4 / 2, 2.25 / 6.5])


def test_discrimination_needs_labels():
    with pytest.raises(ValueError, match="RegressionLess has none: implement labels"):
        CRITERIA["discrimination"].check(type("RegressionLess", (Target,), {})())


def test_labels_of_the_autoencoder_are_those_of_its_images():
    target = make_target("autoencoder", latent_dim=4)
    images, classes = target._images.train, target._images.labels["train"]
    chosen = torch.tensor([3, 700, 3, 12])
    assert torch.equal(target.labels(images[chosen]), classes[chosen])


def test_contributions_by_hand():
    """x_0 = 2 * (1, 3, 0, 0) and x_1 = -3 * (0, 2, 4, 1) in four rows; ThiNet removes channel 0 first."""
    context = context_of(Line(BATCH))
    (matrix,) = contributions(context.surgeon, context.activations_with_rows)
    assert torch.allclose(matrix, torch.tensor([[10.0, -9.0], [-9.0, 47.25]]))
    both = 10 + 47.25 - 18
    assert ThiNet().values(context).tolist() == pytest.approx([10.0, both], rel=1e-4)


def greedy(matrix):
    """ThiNet to the letter: the set whose summed contributions are smallest, one more channel at a time."""
    gone, order, worst = [], {}, 0.0
    while len(gone) < len(matrix):
        errors = {}
        for c in set(range(len(matrix))) - set(gone):
            index = [*gone, c]
            errors[c] = float(matrix[index][:, index].sum())
        best = min(errors, key=errors.get)
        worst = max(worst, errors[best])
        gone.append(best)
        order[best] = worst
    return [order[c] for c in range(len(matrix))]


def gram(channels, seed):
    x = torch.randn(40, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    x[:, 1] = -0.7 * x[:, 0] + 0.1 * x[:, 1]
    return x.t() @ x / 40


@pytest.mark.parametrize("seed", range(4))
def test_thinet_is_the_greedy_choice(seed):
    matrix = gram(6, seed)
    assert ThiNet().of_group(matrix).tolist() == pytest.approx(greedy(matrix), rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_lasso_is_the_path_that_scikit_learn_finds(seed):
    """Its Gram form: minimise beta' M beta / 2 - (M 1)' beta + lambda |beta|_1."""
    from sklearn.linear_model import Lasso as Reference

    matrix = gram(5, seed)
    root = torch.linalg.cholesky(matrix + 1e-9 * torch.eye(5)).T
    design, answer = root * 5**0.5, (root * 5**0.5).sum(1)
    lasso = Lasso(path=100, iterations=200)
    found = lasso.of_group(matrix)
    for c, strength in enumerate(found.tolist()):
        for factor, inside in ((0.88, True), (1.12, False)):
            reference = Reference(alpha=strength * factor, fit_intercept=False, tol=1e-10, max_iter=100_000)
            assert (abs(reference.fit(design, answer).coef_[c]) > 1e-9) == inside


@pytest.mark.parametrize("seed", range(2))
def test_the_default_path_removes_what_a_long_one_removes(seed):
    matrix = gram(10, seed)
    exact, quick = Lasso(path=200, iterations=200).of_group(matrix), Lasso().of_group(matrix)
    assert set(exact.argsort()[:5].tolist()) == set(quick.argsort()[:5].tolist())


def test_hessian_of_a_quadratic_by_hand():
    """The loss of an output layer is quadratic: h = 2 E[x^2] for its weights; a diagonal Hessian needs one probe."""

    class Quadratic(Line):
        def loss(self, model, batch):
            first = model.net[0]
            weights = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
            return (weights * first.weight.square()).sum() / 2 + (first.bias - 1).square().sum() / 2

        def build(self, generator=None):
            model = super().build()
            with torch.no_grad():
                model.net[0].weight.copy_(torch.tensor([[1.0, -2.0], [0.5, 3.0]]))
                model.net[0].bias.copy_(torch.tensor([2.0, 0.0]))
            return model

    expected = [(1 + 2 * 4) / 2 + 4 / 2, (3 * 0.25 + 4 * 9) / 2]
    assert values("hessian:probes=1", Quadratic(BATCH)).tolist() == pytest.approx(expected)


def test_hessian_is_the_diagonal_of_the_whole_hessian():
    """Against torch's full Hessian, by a mean over many probes."""
    torch.manual_seed(0)
    target = Line(BATCH)
    model = target.build()
    model.net[1] = nn.Tanh()
    first = model.net[0]
    with torch.no_grad():
        first.weight.copy_(torch.randn(2, 2))

    def of(weight, bias):
        hidden = torch.tanh(torch.tensor(BATCH) @ weight.T + bias)
        return (hidden @ model.net[2].weight.T + model.net[2].bias).square().mean()

    whole = torch.autograd.functional.hessian(of, (first.weight.detach(), first.bias.detach()))
    diagonal_w = whole[0][0].reshape(4, 4).diagonal().view(2, 2)
    diagonal_b = whole[1][1].diagonal()
    expected = (diagonal_w * first.weight.square()).sum(1) / 2 + diagonal_b * first.bias.square() / 2
    found = values("hessian:probes=200", target, model)
    assert torch.allclose(found, expected.detach(), rtol=0.15, atol=0.15 * float(expected.detach().abs().max()))


def test_bn_scale_and_geometric_median_by_hand():
    class Normed(Line):
        def build(self, generator=None):
            model = nn.Module()
            model.net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 1))
            with torch.no_grad():
                model.net[0].weight.copy_(torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]))
                model.net[1].weight.copy_(torch.tensor([0.5, -2.0, 1.0]))
            return model

    assert values("bn_scale", Normed(BATCH)).tolist() == [0.5, 2.0, 1.0]
    assert values("geometric_median", Normed(BATCH)).tolist() == pytest.approx([15.0, 10.0, 15.0])


def test_movement_by_hand_adds_up_with_its_sign():
    """-w g of two steps: weights that move away from zero have a positive one."""
    context = context_of(Line(BATCH))
    model, tracker = context.surgeon.model, context.tracker
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for factor in (1.0, -3.0):
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        model.net[0].weight.grad = factor * torch.tensor([[1.0, 5.0], [7.0, -2.0]])  # the weights are the identity
        tracker.after_backward(optimizer)
        tracker.after_step()
    assert CRITERIA["movement"].values(context).tolist() == [2.0, -4.0]
    assert tracker.groups(("movement",)).tolist() == [[-1.0]]


def test_movement_is_measured_now_where_a_checkpoint_lacks_it():
    state = TrainState.fresh(make_target("autoencoder", latent_dim=4), torch.Generator().manual_seed(0))
    train(state.target, state.model, state.optimizers, state.target.batches(torch.Generator()), 2, state.observers)
    known = {key: tensor for key, tensor in state.tracker.state_dict().items() if "movement" not in key}
    state.tracker.load_state_dict(known)
    context = state.context(torch.Generator().manual_seed(0))
    found = CRITERIA["movement"].values(context)
    gradients = dict.fromkeys(state.model.parameters(), 0)
    state.model.eval()
    for batch in context.batches():
        for p, g in zip(
            gradients, torch.autograd.grad(state.target.loss(state.model, batch), list(gradients)), strict=True
        ):
            gradients[p] = gradients[p] + g
    layer = state.model.encoder[0]
    expected = -(gradients[layer.weight] * layer.weight).sum(1) - gradients[layer.bias] * layer.bias
    assert torch.allclose(found[: len(expected)], expected.detach(), rtol=1e-4, atol=1e-9)
    assert all(p.grad is not None for p in state.model.parameters())  # those of training are put back


# ---------------------------------------------------------------------- what layers read
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
@pytest.mark.parametrize("both", [False, True])
def test_recurrent_layers_are_run_as_they_are(kind, layers, both):
    """Every step is computed again from what its weights are said to read."""
    torch.manual_seed(0)
    module = kind(3, 4, num_layers=layers, bidirectional=both, batch_first=True)
    x = torch.randn(2, 5, 3)
    outputs = module(x)[0]
    given = given_to(module, (x,))
    suffix = f"_l{layers - 1}"
    cell = {nn.GRU: nn.GRUCell, nn.LSTM: nn.LSTMCell, nn.RNN: nn.RNNCell}[kind](given[f"weight_ih{suffix}"].shape[1], 4)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        setattr(cell, name, getattr(module, f"{name}{suffix}"))
    if kind is nn.LSTM:  # its cell state is not read by a weight: one step from the start
        first = cell(given[f"weight_ih{suffix}"][:2])[0]
        assert torch.allclose(first, outputs[:, 0, :4], atol=1e-6)
        assert torch.allclose(given[f"weight_hh{suffix}"][2:4], first, atol=1e-6)
        return
    again = cell(given[f"weight_ih{suffix}"], given[f"weight_hh{suffix}"])
    assert torch.allclose(again.view(5, 2, 4).transpose(0, 1), outputs[..., :4], atol=1e-6)


@pytest.mark.parametrize("padding_mode", ["zeros", "circular"])
def test_patches_times_the_weight_are_the_convolution(padding_mode):
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, 3, stride=2, padding=1, padding_mode=padding_mode)
    x = torch.randn(2, 3, 7, 6)
    rows = patches_of(layer, (x,), 10_000)["weight"]
    out = rows @ layer.weight.flatten(1).t() + layer.bias
    assert torch.allclose(out, layer(x).movedim(1, -1).flatten(0, -2), atol=1e-5)


def test_contributions_of_a_convolution_are_those_of_its_channels():
    torch.manual_seed(0)

    class Images(Line):
        components = ("net", "head")

        def build(self, generator=None):
            model = nn.Module()
            model.net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1), nn.ReLU())
            model.head = nn.Sequential(nn.Flatten(), nn.Linear(2 * 16, 1))
            return model

        def trace(self, model):
            return model.head(model.net(torch.rand(2, 1, 6, 6)))

        def loss(self, model, batch):
            return model.head(model.net(batch)).square().mean()

    target = Images([[0.0]])
    target.batch, target.classes = torch.randn(4, 1, 6, 6), [0, 1, 0, 1]
    context = context_of(target)
    matrix, flat = contributions(context.surgeon, context.activations_with_rows)
    model = context.surgeon.model
    x = model.net[:2](target.batch)
    parts = [nn.functional.conv2d(x[:, c : c + 1], model.net[2].weight[:, c : c + 1], padding=1) for c in range(3)]
    expected = torch.stack([torch.stack([(a * b).sum(1).mean() for a in parts]) for b in parts])
    assert torch.allclose(matrix, expected, atol=1e-5)
    y = model.net(target.batch).flatten(2)  # [4, 2, 16]
    outputs = [y[:, c] @ model.head[1].weight[:, 16 * c : 16 * (c + 1)].t() for c in range(2)]
    expected = torch.stack([torch.stack([(a * b).sum(1).mean() for a in outputs]) for b in outputs])
    assert torch.allclose(flat, expected, atol=1e-6)


# ---------------------------------------------------------------------- options
def test_options_are_given_by_name():
    assert configured("criterion", "hessian:probes=3", CRITERIA).probes == 3
    with pytest.raises(UnknownOptionError, match="probes"):
        configured("criterion", "hessian:prober=3", CRITERIA)
    with pytest.raises(UnknownOptionError, match="criterion 'l1'"):
        configured("criterion", "l1:order=3", CRITERIA)
    with pytest.raises(ValueError, match="probes must be a whole number"):
        configured("criterion", "hessian:probes=0", CRITERIA)
