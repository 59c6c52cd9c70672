"""EvoPress: level switches, selections with growing effort, and that the parent is never lost."""

import numpy as np
import pytest
from made_up import MadeUpView

from prune_env.baselines import EvoPress


class Env:
    group_names, max_ratio = tuple("abcd"), 0.8


def test_a_level_switch_takes_from_one_group_what_another_gets():
    policy, parent = EvoPress(Env(), levels=8), np.full(4, 0.4, dtype=np.float32)
    for seed in range(50):
        child = policy.switched(parent, 1, np.random.default_rng(seed))
        assert sorted(np.round(child - parent, 6)) == pytest.approx([-0.1, 0.0, 0.0, 0.1])
    many = [policy.switched(parent, 3, np.random.default_rng(seed)) for seed in range(50)]
    assert np.sum(many, axis=1) == pytest.approx(1.6)
    assert np.abs(many - parent).max() == pytest.approx(0.3)


def test_groups_without_room_take_no_part():
    policy = EvoPress(Env(), levels=8)
    child = policy.switched(np.array([0.0, 0.0, 0.8, 0.8], dtype=np.float32), 1, np.random.default_rng(0))
    assert sorted(child) == pytest.approx([0.0, 0.1, 0.7, 0.8])
    dense = np.zeros(4, dtype=np.float32)
    assert policy.switched(dense, 2, np.random.default_rng(0)).tolist() == dense.tolist()


def test_the_effort_grows_and_the_parent_takes_part_in_the_last_selection():
    view = MadeUpView([100] * 4, retained=lambda w: float(w[0]), cost_target=240.0, steps=40)
    policy = EvoPress(Env(), evaluations=10, offspring=4, survivors=[3, 2, 1], efforts=[0.1, 0.5, 1.0])
    policy.attach(view)
    policy.predict(np.zeros(4))
    assert [steps for _, steps in view.tried] == [4] * 4 + [20] * 3 + [40] * 3
    widths = [w for w, _ in view.tried]
    assert widths[9].tolist() == [60] * 4  # the parent: equal ratios
    brood = np.array(widths[:4])
    best = np.argsort(-brood[:, 0], kind="stable")[:3]
    assert sorted(map(tuple, brood[best])) == sorted(map(tuple, widths[4:7]))
    assert all(w.sum() <= 240 for w in widths)


def test_it_climbs_and_never_falls_without_noise():
    """Channels of the first group are worth three times as much as those of the others."""

    def retained(widths):
        return float(widths @ [3.0, 1.0, 1.0, 1.0])

    scores = []
    for evaluations in (10, 50, 200):
        view = MadeUpView([100] * 4, retained=retained, cost_target=200.0)
        policy = EvoPress(Env(), evaluations=evaluations, offspring=6, survivors=[2, 1], efforts=[0.5, 1])
        policy.attach(view)
        ratios, _ = policy.predict(np.zeros(4))
        scores.append(retained(view.widths_for(ratios)))
        assert len(view.tried) <= evaluations
    assert 300 <= scores[0] <= scores[1] <= scores[2]
    assert scores[2] > 370  # 400 is the most there is


def test_with_too_few_trials_for_a_generation_the_start_is_tried():
    view = MadeUpView([100] * 4, cost_target=200.0)
    policy = EvoPress(Env(), evaluations=3)
    policy.attach(view)
    ratios, _ = policy.predict(np.zeros(4))
    assert len(view.tried) == 1 and view.widths_for(ratios).tolist() == [50] * 4


@pytest.mark.parametrize(
    "options",
    [
        {"survivors": [2], "efforts": [0.5, 1]},
        {"survivors": [2, 2]},
        {"efforts": [0.5, 0.9]},
        {"survivors": [], "efforts": [1]},
        {"offspring": 0},
        {"efforts": [-0.5, 1]},
        {"survivors": [0, 1]},
    ],
)
def test_options_are_checked(options):
    with pytest.raises(ValueError, match="must"):
        EvoPress(Env(), **options)
