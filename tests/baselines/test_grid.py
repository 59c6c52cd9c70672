"""Grid search: its blocks, its points, and that equal widths are one trial."""

import numpy as np
import pytest
from made_up import MadeUpView

from prune_env.baselines import GridSearch


class Env:
    max_ratio = 0.8

    def __init__(self, groups):
        self.group_names = tuple(f"g{g}" for g in range(groups))


@pytest.mark.parametrize(
    ("groups", "evaluations", "points", "sizes"),
    [
        (3, 27, 3, [1, 1, 1]),
        (3, 26, 3, [2, 1]),  # 3^3 trials are too many: two blocks
        (7, 48, 3, [3, 2, 2]),
        (7, 48, 2, [2, 2, 1, 1, 1]),
        (5, 3, 3, [5]),
        (2, 10**6, 3, [1, 1]),
    ],
)
def test_as_many_blocks_as_the_trials_allow(groups, evaluations, points, sizes):
    policy = GridSearch(Env(groups), evaluations, points=points)
    assert [len(block) for block in policy.blocks] == sizes


def test_every_combination_by_hand():
    policy = GridSearch(Env(2), 9, points=3)
    view = MadeUpView([10, 10], retained=lambda w: -abs(w[0] - 6) - abs(w[1] - 2))
    policy.attach(view)
    ratios, _ = policy.predict(np.zeros(2))
    assert [w.tolist() for w, _ in view.tried] == [[a, b] for a in (10, 6, 2) for b in (10, 6, 2)]
    assert ratios == pytest.approx([0.4, 0.8])


def test_points_that_lead_to_equal_widths_are_one_trial():
    """Within a budget only the direction counts: equal ratios, whatever their size, are one point."""
    policy = GridSearch(Env(2), 9, points=3)
    view = MadeUpView([100, 100], cost_target=100.0)
    policy.attach(view)
    policy.predict(np.zeros(2))
    tried = [tuple(w) for w, _ in view.tried]
    assert len(set(tried)) == len(tried) == 5 and (50, 50) in tried


def test_a_grid_around_a_start_scales_its_rates():
    policy = GridSearch(Env(2), 9, points=3)
    policy.begin = np.array([0.5, 0.75], dtype=np.float32)
    points = np.array(list(policy.candidates(np.random.default_rng(0), [])))
    rates = np.log1p(-points) / np.log([0.5, 0.25])
    wanted = [[np.exp(a), np.exp(b)] for a in (-1, 0, 1) for b in (-1, 0, 1)]
    np.testing.assert_allclose(rates, wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"points": 1}, "points must be"), ({"evaluations": 2}, r"evaluations must be .* \[3, inf")],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        GridSearch(Env(2), **options)
