"""The view of privileged policies: trial cuts leave no trace, and nothing scores without being counted."""

import numpy as np
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
