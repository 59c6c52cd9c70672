"""Columns of criteria and of signed measures, and the policies that follow them."""

import gymnasium as gym
import numpy as np
import pytest

import prune_env  # noqa: F401
from prune_env.baselines import CriterionImportance, ImportanceMeasure
from prune_env.envs.observation import columns_of

SMALL = {"latent_dim": 4, "dense_steps": 120, "learning_rate": 0.005, "steps_per_round": 2, "rounds": 2}


def make(**options):
    return gym.make("PruneEnv/Autoencoder-v0", **SMALL, **options).unwrapped


def test_a_criterion_is_shown_beside_importance_and_changes_nothing():
    plain, more = make(observation="importance"), make(observation=("importance", "activation", "movement"))
    a, _ = plain.reset(seed=0)
    b, info = more.reset(seed=0)
    assert info["columns"] == ("gradient", "fisher", "bayes", "activation", "movement")
    for _ in range(2):
        assert np.array_equal(a.reshape(7, 3), b.reshape(7, 5)[:, :3])
        scores, groups = more.view.scores("activation"), more.view.group_of
        means = np.bincount(groups, weights=scores) / np.bincount(groups)
        assert np.allclose(b.reshape(7, 5)[:, 3], np.log10(means), atol=1e-5)
        movement = more.episode.importance.groups(("movement",))[0].numpy()
        assert np.allclose(b.reshape(7, 5)[:, 4], movement / np.abs(movement).max(), atol=1e-6)
        a, b = (env.step(np.full(7, 0.3, dtype=np.float32))[0] for env in (plain, more))


def test_what_costs_much_or_draws_is_no_column():
    for name in ("hessian", "lasso", "random"):
        with pytest.raises(ValueError, match=f"unknown column '{name}'"):
            columns_of(("importance", name))


def test_both_policies_follow_the_same_values():
    env = make(observation=("importance", "wanda"))
    observation, _ = env.reset(seed=0)
    privileged = CriterionImportance(env, criterion="wanda", temperature=2.0)
    privileged.attach(env.view)
    plain = ImportanceMeasure(env, measure="wanda", temperature=2.0)
    assert np.allclose(privileged.predict(observation)[0], plain.predict(observation)[0], atol=1e-4)
    assert np.ptp(privileged.predict(observation)[0]) > 0.01
    with pytest.raises(ValueError, match="unknown criterion 'random'"):
        CriterionImportance(env, criterion="random")
    signed = CriterionImportance(env, criterion="hessian:probes=2")
    signed.attach(env.view)
    assert np.ptp(signed.predict(observation)[0]) > 0.01


def test_a_criterion_that_the_target_cannot_serve_is_refused_at_once():
    with pytest.raises(ValueError, match="discrimination' needs classes"):
        gym.make("PruneEnv/Pruning-v0", target="complex-cnn", criterion="discrimination")
    env = make(criterion="discrimination")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="did you mean 'hessian'"):
        env.reset(options={"criterion": "hesian"})
    env.reset(options={"criterion": "hessian:probes=1"})
    env.step(np.full(7, 0.3, dtype=np.float32))


def test_l1_on_scales_shrinks_them():
    scales = []
    for strength in (0.0, 0.1):
        env = make(l1_scales=strength, learning_rate_factor=10.0)
        env.reset(seed=0)
        model = env.network.train_state.model
        env.step(np.zeros(7, dtype=np.float32))
        scales.append(float(model.encoder[1].weight.detach().abs().sum()))
    assert scales[1] < scales[0]
