"""Whether orders change is told from noise, and target_networks count once."""

import numpy as np
import pytest

from prune_env.studies.importance_shift.rank_shift import (
    merge_q_networks,
    settling_claim,
    shift_statistics,
    shifting_claim,
    static_claim,
)

NAMES = ["encoder.0", "q1.0", "q2.0", "pi.0", "reward.0"]


def claim(of_seed, kind=shifting_claim):
    found = [shift_statistics(NAMES, of_seed(np.random.default_rng(seed))) for seed in range(5)]
    return kind("a test", {name: [[f[name] for f in found]] for name in found[0]})


def test_the_two_q_networks_count_once():
    values = np.array([[1.0, 2.0, 4.0, 7.0, 9.0]])
    assert merge_q_networks(NAMES, values).tolist() == [[1.0, 3.0, 7.0, 9.0]]
    assert merge_q_networks(["q1.0", "q1.3", "q2.0", "q2.3"], np.array([[1.0, 2, 3, 4]])).tolist() == [[2, 3]]


def test_statistics_of_a_known_change():
    early, late = [1.0, 2, 2, 3, 4], [4.0, 2, 2, 3, 1]  # four groups, the first and the last change places
    values = np.array([early] * 60 + [late] * 40)
    found = shift_statistics(NAMES, values)
    assert found["tau"] == pytest.approx(-2 / 3) and found["crossovers"] == pytest.approx(5 / 6 / 100 * 100)
    assert found["neighbouring tau"] == pytest.approx((18 + -2 / 3) / 19)
    assert found["early crossovers"] == 0 and found["later crossovers"] == pytest.approx(5 / 6 / 80 * 100)


def test_the_first_fifth_counts():
    early, late = [1.0, 2, 2, 3, 4], [4.0, 2, 2, 3, 1]
    found = shift_statistics(NAMES, np.array([early] * 10 + [late] * 90))
    assert found["tau"] == pytest.approx(-2 / 3) and found["crossovers"] == pytest.approx(5 / 6)
    assert found["early crossovers"] == pytest.approx(5 / 6 / 20 * 100) and found["later crossovers"] == 0


def test_a_drift_is_a_shift():
    def drifting(rng):
        slopes = np.array([3.0, 0, 0, -3, 0])
        return np.exp(np.linspace(0, 1, 110)[:, None] * slopes + [0, 1, 1, 2, 3] + 0.01 * rng.normal(size=(110, 5)))

    assert claim(drifting).verdict == "agrees" and claim(drifting, static_claim).verdict == "disagrees"


def test_noise_around_one_order_is_none():
    order, close = np.array([0, 1, 1, 2, 3]), np.array([0.0, 0.02, 0.02, 0.01, 0.015])
    assert claim(lambda rng: np.exp(order + 0.01 * rng.normal(size=(110, 5)))).verdict == "disagrees"
    assert claim(lambda rng: np.exp(order + 0.01 * rng.normal(size=(110, 5))), static_claim).verdict == "agrees"
    assert claim(lambda rng: np.exp(close + rng.normal(size=(110, 5)))).verdict != "agrees"


@pytest.mark.parametrize(("at", "verdict"), [(10, "agrees"), (60, "disagrees")])
def test_an_order_that_changes_early_settles(at, verdict):
    def once(rng):
        first, second = ([1.0, 2, 2, 3, 4], [4.0, 3, 3, 2, 1])
        return np.array([first] * at + [second] * (100 - at)) * (1 + 0.01 * rng.random((100, 5)))

    assert claim(once, settling_claim).verdict == verdict
