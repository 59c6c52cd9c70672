"""Schedules by hand."""

import pytest

from prune_env.envs.schedules import SCHEDULES, register_schedule


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("geometric", [0.5, 0.25]),
        ("linear", [0.625, 0.25]),
        ("cubic", [1 - 0.75 * (1 - 0.125), 0.25]),
        ("one-shot", [0.25, 0.25]),
    ],
)
def test_shares_of_two_rounds_by_hand(name, shares):
    assert [SCHEDULES[name](progress, 0.75) for progress in (0.5, 1.0)] == pytest.approx(shares)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_falls_to_what_the_budget_leaves(name):
    shares = [SCHEDULES[name](n / 10, 0.6) for n in range(1, 11)]
    assert shares == sorted(shares, reverse=True)
    assert all(0.4 - 1e-12 <= share <= 1 for share in shares) and shares[-1] == pytest.approx(0.4)


def test_a_schedule_is_registered_once(monkeypatch):
    monkeypatch.setattr("prune_env.envs.schedules.SCHEDULES", dict(SCHEDULES))
    with pytest.raises(ValueError, match="schedule 'linear' is already registered"):
        register_schedule("linear", lambda progress, budget: 1.0)
