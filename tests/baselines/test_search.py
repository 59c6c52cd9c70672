"""Searches: the best of exactly as many trials as were given, from a start or without, and without a trace."""

import copy

import numpy as np
import pytest
import torch
from made_up import MadeUpView

from prune_env.baselines import HEURISTICS, SEARCHES, BestHeuristic, CMAESSearch, Gradient, RandomSearch, Search


class View:
    """A network whose score is known: the nearer to 0.5, the better."""

    def __init__(self):
        self.tried = []

    def evaluate(self, ratios):
        self.tried.append(ratios.copy())
        return -float(np.abs(ratios - 0.5).sum())


def state_of(train_state, episode):
    """Everything that training and cutting change, copied."""
    return copy.deepcopy(
        {
            "model": train_state.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in train_state.optimizers],
            "tracker": train_state.tracker.state_dict(),
            "regularizer": train_state.regularizer.step,
            "present": train_state.surgeon.present,
            "random": episode.generator.get_state(),
            "modes": [module.training for module in train_state.model.modules()],
        }
    )


def differences(one, other, path=""):
    """Where two nests of tensors and numbers differ, bit for bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            yield from differences(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), path
        for i, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{path}[{i}]")
    elif not (torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other):
        yield path


def test_the_best_of_the_trials_is_taken(env):
    view, policy = View(), RandomSearch(env, evaluations=20)
    policy.attach(view)
    ratios, state = policy.predict(None, state="kept")
    assert len(view.tried) == 20 and state == "kept"
    scores = [view.evaluate(tried) for tried in view.tried[:20]]
    np.testing.assert_array_equal(ratios, view.tried[int(np.argmax(scores))])
    assert all(tried.min() >= 0 and tried.max() <= env.max_ratio for tried in view.tried)


def test_the_same_seed_tries_the_same(env):
    policy, views = RandomSearch(env, evaluations=5), [View(), View(), View()]
    for view, seed in zip(views, (3, 3, 4), strict=True):
        policy.seed(seed)
        policy.attach(view)
        policy.predict(None)
    np.testing.assert_array_equal(views[0].tried, views[1].tried)
    assert not np.array_equal(views[0].tried, views[2].tried)


def test_exactly_its_evaluations_are_counted_in_every_round(env):
    observation, _ = env.reset(seed=0)
    policy = RandomSearch(env, evaluations=7)
    for rounds in (1, 2):
        policy.attach(env.view)
        observation, _, over, _, _ = env.step(policy.predict(observation)[0])
        assert env.episode.trial_cuts == 7 * rounds
    assert over
    env.reset(seed=0)
    assert env.episode.trial_cuts == 0
    assert RandomSearch(env).evaluations == 48


def test_predict_needs_an_attached_network(env):
    with pytest.raises(RuntimeError, match="attach"):
        RandomSearch(env).predict(env.reset(seed=0)[0])


@pytest.mark.parametrize("rounds_before", [0, 1])
def test_a_search_leaves_the_network_bit_for_bit_as_it_was(env, rounds_before):
    observation, _ = env.reset(seed=0)
    for _ in range(rounds_before):  # a network that is cut already
        observation, *_ = env.step(np.full(3, 0.4))
    before = state_of(env.network.train_state, env.episode)
    view, policy = env.view, RandomSearch(env, evaluations=3)
    policy.attach(view)
    policy.predict(observation)
    assert view.trial_cuts == 3
    assert list(differences(before, state_of(env.network.train_state, env.episode))) == []


def test_a_round_after_a_search_is_the_round_without_it(env):
    trajectories = []
    for trials in (0, 4):
        env.reset(seed=5)
        for _ in range(2):
            if trials:
                policy = RandomSearch(env, evaluations=trials)
                policy.attach(env.view)
                policy.predict(None)
            observation, reward, _, _, info = env.step(np.array([0.6, 0.1, 0.3]))
            trajectories.append((observation, reward, info["channels"]))
    for without, after in zip(trajectories[:2], trajectories[2:], strict=True):
        np.testing.assert_array_equal(without[0], after[0])
        assert without[1] == after[1] and without[2].tolist() == after[2].tolist()


def test_a_trial_is_not_the_round_that_follows(env):
    """It runs on batches of its own: a search cannot foresee the noise of the real round."""
    env.reset(seed=5)
    action = np.array([0.6, 0.1, 0.3])
    tried = env.view.evaluate(action)
    _, _, _, _, info = env.step(action)
    assert tried != info["reward_terms"]["retained"]
    assert tried == pytest.approx(info["reward_terms"]["retained"], abs=0.5)


def test_cma_es_finds_the_optimum_of_a_known_landscape(env):
    """On a quadratic around known ratios, it ends nearer than random search with the same trials."""
    best = np.linspace(0.1, 0.8, len(env.group_names))

    class Landscape:
        def evaluate(self, ratios):
            return -float(np.square(ratios - best).sum())

    found = {}
    for kind in (RandomSearch, CMAESSearch):
        policy = kind(env, evaluations=150)
        policy.attach(Landscape())
        found[kind] = Landscape().evaluate(policy.predict(None)[0])
    assert found[CMAESSearch] > max(found[RandomSearch], -0.05)


class Watched:
    """A view of a real network that remembers every trial."""

    def __init__(self, view):
        self._view, self.tried, self.values = view, [], []

    def __getattr__(self, name):
        return getattr(self._view, name)

    def evaluate(self, ratios):
        self.tried.append(ratios)
        self.values.append(self._view.evaluate(ratios))
        return self.values[-1]


LEFT_OUT = ("none", "random", "importance")  # no heuristics of their own


def test_the_best_heuristic_is_the_one_whose_trial_went_best(env):
    policy = BestHeuristic(env)
    observation, _ = env.reset(seed=0)
    view = Watched(env.view)
    policy.attach(view)
    action, _ = policy.predict(observation)
    plain = [kind(env).predict(observation)[0] for name, kind in HEURISTICS.items() if name not in LEFT_OUT]
    assert len(view.tried) == len(plain) + 4 == view.trial_cuts  # and four thresholds
    np.testing.assert_array_equal(view.tried[: len(plain)], plain)
    np.testing.assert_array_equal(action, view.tried[int(np.argmax(view.values))])
    with pytest.raises(RuntimeError, match="attach"):
        BestHeuristic(env).predict(observation)


@pytest.mark.parametrize("evaluations", [0, -3, 1.5, "many"])
def test_a_search_needs_at_least_one_trial(env, evaluations):
    with pytest.raises(ValueError, match=r"evaluations must be a whole number in \[1, inf\)"):
        RandomSearch(env, evaluations=evaluations)


# ---------------------------------------------------------------------- every search
class Landscape(MadeUpView):
    """A network of three wide groups, nearest to the dense one at known ratios; equal widths score alike."""

    best = np.array([0.7, 0.1, 0.4])

    def __init__(self):
        super().__init__([1000, 1000, 1000], retained=self.score, cost_target=1700)
        self.least_widths = np.array([1, 1, 1])

    def score(self, widths):
        return 1.0 - float(np.square(1.0 - widths / self.widths - self.best).sum())


def search(name, env, view, seed=0, **options):
    policy = SEARCHES[name](env, **options)
    policy.seed(seed)
    policy.attach(view)
    observation, _ = env.reset(seed=0)
    return policy, policy.predict(observation)[0]


@pytest.mark.parametrize("start", [None, "gradient"])
@pytest.mark.parametrize("name", SEARCHES)
def test_the_same_seed_searches_the_same(env, name, start):
    views = [Landscape() for _ in range(3)]
    ratios = [
        search(name, env, view, seed, evaluations=24, start=start)[1]
        for view, seed in zip(views, (3, 3, 4), strict=True)
    ]
    np.testing.assert_array_equal(ratios[0], ratios[1])
    trials = [[(*widths, steps) for widths, steps in view.tried] for view in views]
    assert trials[0] == trials[1] and 0 < len(trials[0]) <= 24
    assert (trials[0] != trials[2]) == (name != "grid")  # a grid draws nothing


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_that_begins_at_the_best_keeps_it(env, monkeypatch, name):
    """A warm search tries its start, and nothing that it finds is worse."""
    monkeypatch.setattr(Gradient, "ratios", lambda self, columns: np.tile(Landscape.best, (1, 1)))
    view = Landscape()
    _, ratios = search(name, env, view, evaluations=24, start="gradient")
    executed = view.widths_for(Landscape.best) if name != "nsga2" else view.widths_at(Landscape.best)
    tried = [widths.tolist() for widths, _ in view.tried]
    assert executed.tolist() in tried
    assert view.score(view.widths_for(ratios)) >= view.score(view.widths_for(Landscape.best)) - 0.05


@pytest.mark.parametrize("name", SEARCHES)
def test_a_start_may_be_any_policy_with_options(env, name):
    policy, _ = search(name, env, Landscape(), evaluations=12, start="gradient:temperature=0.5")
    wanted = Gradient(env, temperature=0.5).predict(env.reset(seed=0)[0])[0]
    np.testing.assert_array_equal(policy.begin, wanted)
    with pytest.raises(ValueError, match="unknown policy 'gradent'; did you mean 'gradient'"):
        SEARCHES[name](env, start="gradent")


def test_trials_of_the_start_are_counted_on_top(env):
    observation, _ = env.reset(seed=0)
    policy = RandomSearch(env, evaluations=3, start="random-search:evaluations=4")
    policy.attach(env.view)
    policy.predict(observation)
    assert env.episode.trial_cuts == 7


def test_a_warm_search_draws_around_its_start(env):
    view = Landscape()
    policy, _ = search("random-search", env, view, evaluations=200, start="uniform")
    drawn = np.array([policy.near(policy.begin, np.random.default_rng(i)) for i in range(2000)])
    np.testing.assert_allclose(drawn.mean(axis=0), policy.begin, atol=0.02)
    np.testing.assert_allclose(drawn.std(axis=0), env.max_ratio / 8, atol=0.01)


def test_a_search_may_run_out_of_candidates(env):
    class Short(Search):
        def candidates(self, random, values):
            yield np.full(self.groups, 0.2)
            yield np.full(self.groups, 0.4)

    policy, view = Short(env), View()
    policy.attach(view)
    assert policy.predict(None)[0].tolist() == pytest.approx([0.4] * 3) and len(view.tried) == 2


@pytest.mark.parametrize("best", [0, 3, 5])
def test_the_best_trial_is_taken_wherever_it_is(env, best):
    class Rising(RandomSearch):
        def candidates(self, random, values):
            for i in range(self.evaluations):
                yield np.full(self.groups, 0.5 if i == best else 0.1 + 0.01 * i)

    policy = Rising(env, evaluations=6)
    policy.attach(View())
    np.testing.assert_allclose(policy.predict(None)[0], 0.5)


def test_cma_es_begins_with_draws_over_a_quarter_of_the_range(env):
    view, policy = View(), CMAESSearch(env, evaluations=8)
    for seed in range(12):
        policy.seed(seed)
        policy.attach(view)
        policy.predict(None)
    tried = np.array(view.tried)
    np.testing.assert_allclose(tried.mean(), env.max_ratio / 2, rtol=0.15)
    np.testing.assert_allclose(tried.std(), env.max_ratio / 4, rtol=0.2)
