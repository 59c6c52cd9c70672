"""Every formula of the paper's section 3 against numbers computed by hand."""

import math

import pytest
import torch

from prune_env.importance import MEASURES, ImportanceConfig, ImportanceTracker

A_WEIGHT = [[1.0, -2.0, 3.0], [0.0, 0.0, 4.0]]
A_BIAS = [-2.0, 0.0]
B_WEIGHT = [[1.0, 1.0], [2.0, -2.0], [0.0, 0.0]]
B_BIAS = [1.0, -1.0, 0.0]
# Group a.0 has 8 parameters: |g| sums to 1+2+3+2 + 4 = 12, g^2 to 1+4+9+4 + 16 = 34.
# Group b.0 has 9: |g| sums to 1+1+1 + 2+2+1 + 0 = 8, g^2 to 3 + 9 + 0 = 12.
GRADIENT = [12 / 8, 8 / 9]
FISHER = [34 / 8, 12 / 9]


class Everything:
    """An optimizer as far as the tracker looks at it: over all parameters of a model."""

    def __init__(self, model):
        self.param_groups = [{"params": list(model.parameters())}]


def measure(tracker, surgeon, times=1):
    optimizer = Everything(surgeon.model)
    for _ in range(times):
        tracker.after_backward(optimizer)
        tracker.after_step()


def bayes(name, energies, fisher=0.0, **config):
    """Value after each energy, and what is remembered at the end."""
    measure, config = MEASURES[name], ImportanceConfig(**config)
    state = measure.initial_state(1, torch.device("cpu"))
    values = []
    for energy in energies:
        statistics = {"mean_abs": torch.tensor([energy]), "mean_square": torch.tensor([fisher])}
        values.append(measure.value(statistics, state, config).item())
    return values, state


def test_posterior_by_hand():
    _, state = bayes("bayes", [2.0, 0.0], kappa=0.25, eta=4.0)
    assert state["alpha"].item() == 1.5
    assert state["beta"].tolist() == [1.0 + 0.25 * 2.0 / 4.0]


@pytest.mark.parametrize(("name", "mu"), [("bayes", 1.5 / 3.0), ("bayes_corrected", 3.0 / 1.5)])
def test_bayes_by_hand(name, mu):
    (value,), _ = bayes(name, [4.0], fisher=0.2, kappa=0.5)
    assert value == pytest.approx(math.log(1 + mu) * 1.2, rel=1e-6)


def test_signs_of_the_two_variants():
    """The literal importance falls as gradient energy rises, the corrected one rises."""
    literal, corrected = (
        [bayes(name, [energy])[0][0] for energy in (0.1, 1.0, 10.0)] for name in ("bayes", "bayes_corrected")
    )
    assert literal == sorted(literal, reverse=True)
    assert corrected == sorted(corrected)


@pytest.mark.parametrize("name", ["bayes", "bayes_corrected"])
def test_first_step_of_the_tracker_by_hand(tiny, set_gradients, name):
    set_gradients(tiny, A_WEIGHT, A_BIAS, B_WEIGHT, B_BIAS)
    tracker = ImportanceTracker(tiny)
    measure(tracker, tiny)
    gradient, fisher, bayes = tracker.groups(("gradient", "fisher", name))
    assert gradient.tolist() == pytest.approx(GRADIENT)
    assert fisher.tolist() == pytest.approx(FISHER)
    for g in range(2):
        alpha, beta = 1.25, 1.0 + 0.25 * GRADIENT[g]
        mu = alpha / beta if name == "bayes" else beta / alpha
        assert bayes[g].item() == pytest.approx(math.log(1 + mu) * (1 + FISHER[g]), rel=1e-6)


def test_channels_by_hand(tiny, set_gradients):
    set_gradients(tiny, A_WEIGHT, A_BIAS, B_WEIGHT, B_BIAS)
    tracker = ImportanceTracker(tiny)
    measure(tracker, tiny)
    assert tracker.channel("gradient").tolist() == pytest.approx([8 / 4, 4 / 4, 3 / 3, 5 / 3, 0.0])
    assert tracker.channel("fisher").tolist() == pytest.approx([18 / 4, 16 / 4, 3 / 3, 9 / 3, 0.0])
    w = torch.cat([tiny.model.a[0].weight[0], tiny.model.a[0].bias[:1]])
    g = torch.tensor([*A_WEIGHT[0], A_BIAS[0]])
    assert tracker.channel("taylor")[0].item() == pytest.approx((w * g).sum().abs().item(), rel=1e-5)
    assert tracker.channel("fisher_weight")[0].item() == pytest.approx((w * g).square().sum().item(), rel=1e-5)


def test_moving_average_starts_at_the_first_value(tiny, set_gradients):
    tracker = ImportanceTracker(tiny, ImportanceConfig(ema_decay=0.9))
    set_gradients(tiny, A_WEIGHT, A_BIAS, B_WEIGHT, B_BIAS)
    measure(tracker, tiny)
    doubled = [[[2 * x for x in row] for row in A_WEIGHT], [2 * x for x in A_BIAS]]
    set_gradients(tiny, *doubled, B_WEIGHT, B_BIAS)
    measure(tracker, tiny)
    gradient, fisher, bayes = tracker.groups()
    assert gradient.tolist() == pytest.approx([0.9 * 1.5 + 0.1 * 3.0, GRADIENT[1]])
    assert fisher.tolist() == pytest.approx([0.9 * 4.25 + 0.1 * 17.0, FISHER[1]])
    first = math.log(1 + 1.25 / (1 + 0.25 * 1.5)) * 5.25
    second = math.log(1 + 1.5 / (1 + 0.25 * 1.5 + 0.25 * 3.0)) * 18.0
    assert bayes[0].item() == pytest.approx(0.9 * first + 0.1 * second, rel=1e-6)


def test_scope_group_counts_every_slice(tiny, set_gradients):
    """Group a.0 then also has the two input columns of b.0 (3 x 2 entries), b.0 the three of b.2."""
    set_gradients(tiny, A_WEIGHT, A_BIAS, B_WEIGHT, B_BIAS)
    tracker = ImportanceTracker(tiny, ImportanceConfig(scope="group"))
    measure(tracker, tiny)
    assert tracker.groups()[0].tolist() == pytest.approx([(12 + 6) / 14, (8 + 3) / 12])


def test_history_records_every_step(tiny, set_gradients):
    tracker = ImportanceTracker(tiny, history=True)
    set_gradients(tiny, A_WEIGHT, A_BIAS, B_WEIGHT, B_BIAS)
    measure(tracker, tiny, times=3)
    assert torch.stack(tracker.history).shape == (3, len(MEASURES), 2)
    assert tracker.history[0][0].tolist() == pytest.approx(GRADIENT)


def test_two_optimizers_share_the_work(tiny, set_gradients):
    """Each optimizer brings the parameters that it owns, as in TD-MPC; together they bring all."""
    set_gradients(tiny, A_WEIGHT, A_BIAS, B_WEIGHT, B_BIAS)
    tracker = ImportanceTracker(tiny)
    tracker.after_backward(Everything(tiny.model.a))
    tracker.after_backward(Everything(tiny.model.b))
    tracker.after_step()
    assert tracker.groups()[0].tolist() == pytest.approx(GRADIENT)


def test_importance_is_kept_across_surgery(tiny, set_gradients):
    set_gradients(tiny, A_WEIGHT, A_BIAS, B_WEIGHT, B_BIAS)
    tracker = ImportanceTracker(tiny)
    measure(tracker, tiny)
    before, groups = tracker.channel("gradient"), tracker.groups()
    keep = torch.tensor([True, False, True, False, True])
    tiny.cut(keep)
    tracker.after_surgery(keep)
    assert torch.equal(tracker.channel("gradient"), before[keep])
    assert torch.equal(tracker.groups(), groups)
    for p in tiny.model.parameters():
        p.grad = torch.ones_like(p)
    measure(tracker, tiny)  # a.0 now has 4 parameters of gradient one
    assert tracker.groups()[0, 0].item() == pytest.approx(0.9 * 1.5 + 0.1 * 1.0)


def test_state_round_trip_is_exact(tiny, set_gradients):
    set_gradients(tiny, A_WEIGHT, A_BIAS, B_WEIGHT, B_BIAS)
    tracker, other = ImportanceTracker(tiny), ImportanceTracker(tiny)
    measure(tracker, tiny, times=2)
    other.load_state_dict(tracker.state_dict())
    measure(tracker, tiny)
    measure(other, tiny)
    assert torch.equal(tracker.groups(), other.groups())
    assert torch.equal(tracker.channel("bayes"), other.channel("bayes"))


def test_both_ways_of_summing_agree(tiny, set_gradients, monkeypatch):
    """One call for small networks, one reduction a tensor for large ones: the same sums."""
    set_gradients(tiny, A_WEIGHT, A_BIAS, B_WEIGHT, B_BIAS)
    small = ImportanceTracker(tiny)
    monkeypatch.setattr("prune_env.importance.channels._ONE_CALL_ENTRIES", 0)
    large = ImportanceTracker(tiny)
    assert small._sums._one_call and not large._sums._one_call
    for tracker in (small, large):
        measure(tracker, tiny, times=2)
    for statistic in ("gradient", "fisher", "bayes", "taylor", "fisher_weight"):
        assert torch.allclose(small.channel(statistic), large.channel(statistic), rtol=1e-5), statistic


def test_small_energies_are_not_lost_beside_the_prior():
    _, state = bayes("bayes", [2e-7] * 1000)
    assert state["beta"].tolist() == pytest.approx([1 + 0.25 * 1000 * 2e-7], abs=1e-11)
