"""The view of privileged policies: trial cuts leave no trace, and nothing scores without being counted."""

import numpy as np
import pytest
import torch
from small_envs import rollout

from prune_env.targets import Target


def test_trials_of_a_view_leave_no_trace(make):
    env = make(rounds=2, budget=0.5).unwrapped
    env.reset(seed=0)
    first = rollout(env, 2, 2)
    env.reset(seed=2)
    values = [env.view.evaluate(np.full(7, 0.3)) for _ in range(2)]
    assert env.episode.trial_cuts == 2 and values[0] == values[1]
    random = np.random.default_rng(1)
    observation, *_ = env.step(random.uniform(0, 0.95, 7).astype(np.float32))
    assert np.array_equal(observation, first[1][0])


def test_nothing_in_view_scores_without_being_counted(make):
    env = make(rounds=1, budget=0.5).unwrapped
    env.reset(seed=0)
    view, target = env.view, env.network.train_state.target
    shown = {name: getattr(view, name) for name in dir(view) if not name.startswith("_")}
    assert not [name for name, value in shown.items() if isinstance(value, Target) or hasattr(value, "score")]
    model = view.copy_model().eval()
    assert torch.equal(view.trace(model), target.trace(model))
    assert view.count_cost(model) == env.network.cost.dense


def test_a_trial_of_an_action_is_the_trial_of_its_widths(make):
    env = make(rounds=2, budget=0.5).unwrapped
    env.reset(seed=0)
    ratios = np.linspace(0.1, 0.8, 7)
    widths = env.view.widths_for(ratios)
    assert env.view.cost_of(widths) <= env.view.cost_target
    assert env.view.evaluate(ratios) == env.view.evaluate_widths(widths)
    _, _, _, _, info = env.step(ratios)
    assert info["channels"].tolist() == widths.tolist()


def test_trials_remember_their_steps_and_whether_they_count(make):
    env = make(rounds=2, budget=0.5, steps_per_round=3).unwrapped
    env.reset(seed=0)
    view = env.view
    assert view.steps == 3
    retained = [view.evaluate(np.full(7, 0.3)), view.evaluate(np.full(7, 0.3), steps=1)]
    retained.append(view.evaluate_widths(view.widths))
    assert [tuple(trial) for trial in env.episode.trials] == [
        (retained[0], 3, True, 0),
        (retained[1], 1, False, 0),  # rougher than a round
        (retained[2], 3, False, 0),  # beyond the budget
    ]
    assert env.episode.best_trials == [(1, retained[0])]
    assert env.episode.trial_steps == 7 and view.trial_cuts == 3
    env.step(np.full(7, 0.3))
    assert env.episode.best_trials == [(1, retained[0])]
    env.view.evaluate(np.full(7, 0.3), steps=1)
    assert env.episode.best_trials == []  # of the second round


@pytest.mark.parametrize("change", [-100, 1, 0.5])
def test_widths_that_cannot_be_cut_to_are_refused(make, change):
    env = make(rounds=1, round_to=2).unwrapped
    env.reset(seed=0)
    view = env.view
    with pytest.raises(ValueError, match="round_to=2 allows"):
        view.evaluate_widths(view.widths_at(np.full(7, 0.5)) + change)
    with pytest.raises(ValueError, match="round_to=2 allows"):
        view.evaluate_widths(view.widths[:3])
    with pytest.raises(ValueError, match="steps must be"):
        view.evaluate_widths(view.widths, steps=-1)
    assert view.trial_cuts == 0
