"""Successive halving: sizes and lengths of its rungs, and who goes on."""

import numpy as np
import pytest
from made_up import MadeUpView

from prune_env.baselines import SuccessiveHalving


class Env:
    group_names, max_ratio = ("a", "b"), 0.8


@pytest.mark.parametrize(
    ("evaluations", "factor", "rungs", "sizes"),
    [
        (13, 3, 3, [9, 3, 1]),
        (48, 3, 3, [34, 11, 3]),
        (7, 2, 3, [4, 2, 1]),
        (5, 2, 1, [5]),
        (3, 3, 3, [1, 1, 1]),
    ],
)
def test_sizes_by_hand(evaluations, factor, rungs, sizes):
    assert SuccessiveHalving(Env(), evaluations, factor=factor, rungs=rungs).sizes == sizes


@pytest.mark.parametrize("evaluations", range(3, 60))
def test_one_more_candidate_would_not_fit(evaluations):
    sizes = SuccessiveHalving(Env(), evaluations, factor=2, rungs=3).sizes
    more = [max((sizes[0] + 1) // 2**rung, 1) for rung in range(3)]
    assert sum(sizes) <= evaluations < sum(more)


def test_the_best_of_a_rung_go_on_with_more_steps():
    view = MadeUpView([1000, 1000], retained=lambda w: float(w[0]), cost_target=1000.0, steps=36)
    policy = SuccessiveHalving(Env(), 13)
    policy.attach(view)
    ratios, _ = policy.predict(np.zeros(2))
    assert [steps for _, steps in view.tried] == [4] * 9 + [12] * 3 + [36]
    first = [w[0] for w, _ in view.tried[:9]]
    assert [w[0] for w, _ in view.tried[9:12]] == sorted(first, reverse=True)[:3]
    assert view.widths_for(ratios)[0] == max(first)


@pytest.mark.parametrize("options", [{"factor": 1}, {"rungs": 0}, {"evaluations": 2}])
def test_options_are_checked(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        SuccessiveHalving(Env(), **options)
