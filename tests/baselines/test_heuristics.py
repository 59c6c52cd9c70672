"""Plain heuristics: what they read, what they answer, and that they answer like an SB3 model."""

import warnings

import numpy as np
import pytest
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from prune_env import PruningEnv
from prune_env.baselines import HEURISTICS, CombinedSum, Random, Uniform, allocate
from prune_env.benchmark import known_policies, make_policy

COLUMN = {"l1": "weight_mean", "l2": "weight_rms", "gradient": "gradient", "fisher": "fisher", "bayes": "bayes"}
CONTEXT_FREE = ["none", "random", "uniform", "importance", "gradient", "fisher", "bayes", "combined", "product"]


def observation_of(env, **columns):
    """An observation [G * F] with these columns, each a list [G], and distinct numbers in all others."""
    groups, names = len(env.group_names), [column.name for column in env.columns]
    table = np.random.default_rng(0).uniform(-5, 5, (groups, len(names))).astype(np.float32)
    for name, values in columns.items():
        table[:, names.index(name)] = values
    return table.reshape(-1)


def answer(env, name, observation):
    return make_policy(name, env).predict(observation)[0]


# ---------------------------------------------------------------------- the contract
def test_every_heuristic_is_announced_under_its_own_name():
    assert {name: known_policies().get(name) for name in HEURISTICS} == HEURISTICS


@pytest.mark.parametrize("name", HEURISTICS)
def test_every_plain_heuristic_runs_in_evaluate_policy(env, name):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Evaluation environment is not wrapped")
        rewards, lengths = evaluate_policy(
            make_policy(name, env), DummyVecEnv([lambda: env]), n_eval_episodes=2, return_episode_rewards=True
        )
    assert np.isfinite(rewards).all() and all(1 <= length <= 2 for length in lengths)


@pytest.mark.parametrize("name", [name for name in HEURISTICS if name != "random"])
def test_a_batch_is_answered_like_its_rows(env, name):
    policy = make_policy(name, env)
    rows = [env.reset(seed=1)[0], env.step(env.action_space.sample())[0], observation_of(env)]
    together, state = policy.predict(np.stack(rows), "a state")
    assert state == "a state"
    np.testing.assert_allclose(together, [policy.predict(row)[0] for row in rows], rtol=1e-6)


@pytest.mark.parametrize("name", HEURISTICS)
def test_answers_stay_below_the_environments_bound(name):
    env = PruningEnv(
        "autoencoder",
        rounds=1,
        steps_per_round=1,
        max_ratio=0.2,
        latent_dim=4,
        hidden_layers=1,
        learning_rate=0.01,
        dense_steps=60,
    )
    ratios = answer(env, name, env.reset(seed=0)[0])
    assert ratios.dtype == np.float32 and ratios.min() >= 0 and ratios.max() <= np.float32(0.2)


# ---------------------------------------------------------------------- what they read
@pytest.mark.parametrize(("name", "column"), COLUMN.items())
def test_a_single_measure_is_allocated_and_nothing_else_is_read(env, name, column):
    values = [-4.0, -2.0, -3.5]
    np.testing.assert_allclose(
        answer(env, name, observation_of(env, **{column: values})), allocate(np.array(values), env.max_ratio), rtol=1e-5
    )
    assert np.argmax(answer(env, name, observation_of(env, **{column: values}))) == 0  # the least important group


def test_the_product_is_the_sum_of_logarithms(env):
    observation = observation_of(env, gradient=[-3, -2, -1], fisher=[-6, -6, -6], bayes=[1, -1, 2])
    expected = allocate(np.array([-8.0, -9.0, -5.0]), env.max_ratio)
    np.testing.assert_allclose(answer(env, "product", observation), expected, rtol=1e-5)


def test_the_sum_is_of_standardised_measures_themselves(env):
    # 10^0, 10^1, 10^2 standardise to (1 - 37, 10 - 37, 100 - 37) / 44.7..., equal numbers to 0
    raw = np.array([1.0, 10.0, 100.0])
    z = (raw - 37) / np.sqrt(((raw - 37) ** 2).mean())
    observation = observation_of(env, gradient=[0, 1, 2], fisher=[-6, -6, -6], bayes=[2, 1, 0])
    expected = allocate(z + 0 + z[::-1], env.max_ratio)
    np.testing.assert_allclose(answer(env, "combined", observation), expected, rtol=1e-5)
    policy = CombinedSum(env, weights=(2.0, 1.0, 0.5))
    expected = allocate(2 * z + 0.5 * z[::-1], env.max_ratio)
    np.testing.assert_allclose(policy.predict(observation)[0], expected, rtol=1e-5)


def test_no_pruning_is_zero_and_uniform_is_the_amount(env):
    observation = observation_of(env)
    assert answer(env, "none", observation).tolist() == [0.0] * 3
    assert answer(env, "uniform", observation).tolist() == [0.5] * 3
    assert Uniform(env, amount=0.25).predict(observation)[0].tolist() == [0.25] * 3
    assert make_policy("none", env).reference and not hasattr(make_policy("uniform", env), "reference")


# ---------------------------------------------------------------------- random numbers
def test_random_repeats_itself_after_seed(env):
    policy, observation = Random(env), observation_of(env)

    def draws(seed):
        policy.seed(seed)
        return np.stack([policy.predict(observation)[0] for _ in range(3)])

    first = draws(7)
    np.testing.assert_array_equal(draws(7), first)
    assert not np.array_equal(draws(8), first)
    assert len(np.unique(first)) == 9  # other numbers for every group and every call


def test_random_covers_the_range(env):
    drawn = Random(env, seed=1).predict(np.stack([observation_of(env)] * 500))[0]
    assert drawn.shape == (500, 3)
    assert drawn.min() < 0.02 and drawn.max() > env.max_ratio - 0.02
    assert drawn.mean() == pytest.approx(env.max_ratio / 2, abs=0.03)


# ---------------------------------------------------------------------- an observation that says too little
@pytest.mark.parametrize("name", CONTEXT_FREE)
def test_importance_alone_is_enough_for_most(importance_env, name):
    observation, _ = importance_env.reset(seed=0)
    assert answer(importance_env, name, observation).shape == (3,)


@pytest.mark.parametrize("name", sorted(set(HEURISTICS) - set(CONTEXT_FREE)))
def test_norms_say_which_column_they_miss(importance_env, name):
    with pytest.raises(ValueError, match=rf"{COLUMN[name]}.*observation='full'"):
        make_policy(name, importance_env)


def test_both_forms_of_the_observation_lead_to_the_same_answer(env, importance_env):
    for name in ("gradient", "combined"):
        full, few = (answer(e, name, e.reset(seed=0)[0]) for e in (env, importance_env))
        np.testing.assert_array_equal(full, few)
