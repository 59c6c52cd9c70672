"""A video shows the episode that a benchmark would run: references, seeds and states included."""

import gymnasium as gym
import numpy as np
import pytest

from prune_env.benchmark import policies
from prune_env.benchmark import video as film_module
from prune_env.benchmark.video import video
from prune_env.envs import PruningEnv

QUICK = {"latent_dim": 4, "hidden_layers": 1, "learning_rate": 0.01, "dense_steps": 60, "steps_per_round": 1}


class Witness:
    """Cuts a little, and remembers how it was asked."""

    privileged = learned = False

    def __init__(self, env):
        self.groups, self.seeds, self.states = len(env.group_names), [], []
        Witness.last = self

    def seed(self, seed):
        self.seeds.append(seed)

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        self.states.append(state)
        return np.full(self.groups, 0.2, dtype=np.float32), (state or 0) + 1


@pytest.fixture
def filmed(monkeypatch, tmp_path):
    """Films a policy, and returns the environment as the video left it."""
    made = []

    def make(*arguments, **options):
        made.append(gym_make(*arguments, **options))
        return made[-1]

    gym_make = gym.make
    monkeypatch.setattr(film_module.gym, "make", make)

    def run(policy, **options) -> PruningEnv:
        video(policy, "PruneEnv/Autoencoder-v0", tmp_path / "a.gif", budget=0.6, env_options=QUICK, **options)
        return made[-1].unwrapped

    return run


def test_no_pruning_is_filmed_dense(filmed):
    assert filmed("none").episode.terms.sparsity == 0
    assert filmed("uniform").episode.terms.sparsity >= 0.6


def test_a_policy_that_draws_is_seeded(filmed):
    widths = [filmed("random", seed=seed).episode.widths.tolist() for seed in (1, 1, 2)]
    assert widths[0] == widths[1] != widths[2]


def test_a_policy_gets_its_state_back_in_every_round(filmed, monkeypatch):
    monkeypatch.setattr(policies, "_REGISTERED", {"witness": Witness})
    monkeypatch.setitem(QUICK, "rounds", 3)
    filmed("witness", seed=5)
    assert Witness.last.seeds == [5] and Witness.last.states == [None, 1, 2]
