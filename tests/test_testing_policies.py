"""The check for people who bring a policy: a sound one passes, each kind of mistake is named."""

import gymnasium as gym
import numpy as np
import pytest

from prune_env.baselines import THRESHOLDS, Random, Uniform
from prune_env.testing import CheckError, check_policy


@pytest.fixture(scope="module")
def env():
    options = {"hidden_layers": 1, "latent_dim": 4, "learning_rate": 0.01, "dense_steps": 60}
    return gym.make("PruneEnv/Autoencoder-v0", rounds=1, steps_per_round=1, max_ratio=0.8, **options).unwrapped


class Answering(Uniform):
    """Uniform, but the answer is passed through a function first."""

    def __init__(self, env, change):
        super().__init__(env)
        self.change = change

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        action, state = super().predict(observation, state)
        return self.change(action, state, observation)


def altered(action, state, observation):
    observation[0] = 7
    return action, state


def single_only(action, state, observation):
    if observation.ndim > 1:
        raise IndexError("too many dimensions")
    return action, state


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a, s, o: a, r"must return \(action, state\); got ndarray"),
        (lambda a, s, o: (a, s, o), r"must return \(action, state\); got tuple"),
        (lambda a, s, o: (a.tolist(), s), r"must be an array \(3,\); got \(3,\)"),
        (lambda a, s, o: (a[..., :2], s), r"must be an array \(3,\); got \(2,\)"),
        (lambda a, s, o: (a.reshape(-1)[:3], s), r"for an observation \(2, .*\) the action must be an array \(2, 3\)"),
        (lambda a, s, o: (a * 2, s), r"ratios must lie in \[0, 0\.8\]; got 1\.0"),
        (lambda a, s, o: (a - 1, s), r"ratios must lie in \[0, 0\.8\]; got -0\.5"),
        (lambda a, s, o: (a * np.nan, s), r"ratios must lie in \[0, 0\.8\]; got nan"),
        (altered, r"predict\(\) changed the observation"),
        (single_only, r"predict\(\) fails for an observation \(2, .*IndexError: too many dimensions"),
    ],
)
def test_a_mistaken_answer_is_named(env, change, said):
    with pytest.raises(CheckError, match=said):
        check_policy(Answering(env, change), env)


def test_sound_policies_pass_in_person_by_name_and_through_wrappers(env):
    check_policy(Uniform(env), env)
    check_policy(Random(env), gym.wrappers.TimeLimit(env, 5))
    check_policy("global-fisher", env)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"privileged": None}, "whether it is privileged"),
        ({"learned": "no"}, "whether it is learned"),
        ({"privileged": True}, r"needs attach\(view\)"),
    ],
)
def test_a_policy_says_what_it_is(env, attributes, said):
    made = type("Unsaid", (Uniform,), attributes)(env)
    with pytest.raises(CheckError, match=said):
        check_policy(made, env)


def test_a_privileged_policy_is_shown_the_network_first(env):
    policy = THRESHOLDS["global-l2"](env)
    check_policy(policy, env)
    assert policy._view is not None


def test_an_unknown_name_is_no_check_error(env):
    with pytest.raises(ValueError, match="unknown policy 'fischer'"):
        check_policy("fischer", env)
