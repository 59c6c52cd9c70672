"""NetAdapt's greedy, by hand, against a loop, and on a real network."""

import numpy as np
import pytest
from made_up import MadeUpView

from prune_env.baselines import NetAdapt


class Env:
    max_ratio = 0.9

    def __init__(self, groups=2):
        self.group_names = tuple(f"g{g}" for g in range(groups))


def ratios_of(view, **options):
    policy = NetAdapt(Env(len(view.widths)), **options)
    policy.attach(view)
    return policy.predict(np.zeros(2))[0]


def test_two_iterations_by_hand():
    """16 channels to 4, halving: to 8 only a cut of one group to 0 would do, so its least of 1 is tried, and so on."""
    view = MadeUpView([8, 8], retained=lambda w: float(2 * w[0] + w[1]), cost_target=9.0)
    ratios = ratios_of(view, iterations=1)
    assert [w.tolist() for w, _ in view.tried] == [[1, 8], [8, 1]]
    assert view.widths_at(ratios).tolist() == [8, 1]
    view = MadeUpView([8, 8], retained=lambda w: float(2 * w[0] + w[1]), cost_target=4.0)
    assert view.widths_at(ratios_of(view, iterations=2)).tolist() == [3, 1]
    # goal 8: [1, 8] or [8, 1], both cost 9; goal 4: [3, 1], and the second group has nothing left
    assert [w.tolist() for w, _ in view.tried] == [[1, 8], [8, 1], [3, 1]]


def greedy(view, iterations, target):
    """Algorithm 1 with loops over groups and widths."""
    widths, cost = view.widths.tolist(), view.cost_of(view.widths)
    rate = (target / cost) ** (1 / iterations)
    while view.cost_of(widths) > target:
        goal = max(view.cost_of(widths) * rate, target)
        proposals = []
        for g, width in enumerate(widths):
            smaller = list(range(int(np.ceil(view.widths[g] * 0.1)), width))
            meeting = [w for w in smaller if view.cost_of([*widths[:g], w, *widths[g + 1 :]]) <= goal]
            if smaller:
                proposals.append([*widths[:g], max(meeting) if meeting else min(smaller), *widths[g + 1 :]])
        if not proposals:
            return widths
        widths = max(proposals, key=lambda p: view._retained(np.array(p)))
    return widths


@pytest.mark.parametrize("seed", range(20))
def test_against_loops(seed):
    """Costs of a chain of layers."""
    random = np.random.default_rng(seed)
    worth = random.uniform(0.2, 1, 4)
    view = MadeUpView(
        random.integers(2, 9, 4) * 10,
        retained=lambda w: float((worth * np.sqrt(w)).sum()),
        cost=lambda w: 5 * w[..., 0] + (w[..., :-1] * w[..., 1:]).sum(-1) + 3 * w[..., -1],
    )
    view.cost_target = target = float(view.cost_of(view.widths) * random.uniform(0.2, 0.9))
    iterations = int(random.integers(1, 8))
    kept = view.widths_at(ratios_of(view, iterations=iterations))
    assert kept.tolist() == greedy(view, iterations, target) and view.cost_of(kept) <= target


def test_trials_are_counted_and_may_be_short(env):
    observation, _ = env.reset(seed=0)
    view, policy = env.view, NetAdapt(env, iterations=3, steps=1)
    policy.attach(view)
    ratios, _ = policy.predict(observation)
    assert view.cost_of(view.widths_at(ratios)) <= view.cost_target
    assert env.episode.trial_cuts == env.episode.trial_steps <= 9


@pytest.mark.parametrize("options", [{"iterations": 0}, {"steps": -1}])
def test_options_are_checked(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        NetAdapt(Env(), **options)
