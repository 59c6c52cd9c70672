"""The environment's contract with Gymnasium and SB3: checkers, determinism, pickling, vectorised use, documentation."""

import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from small_envs import QUICK, make_or_skip, rollout, same
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.vec_env import SubprocVecEnv

from prune_env.envs import ENVIRONMENTS, FORMS, OBJECTIVES, PruningConfig, PruningEnv
from prune_env.envs.config import FIELDS

_SHIPPED_POOLS = {"PruneEnv/TDMPCPendulum-v0": {"pool": 2, "split": "held_out"}}


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_gymnasium_and_sb3_checkers_pass_without_a_warning(env_id):
    env = make_or_skip(env_id, rounds=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
        sb3_check_env(gym.wrappers.RescaleAction(env, np.float32(-1), np.float32(1)))


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
@pytest.mark.parametrize(
    "options", [{"budget": (0.3, 0.8), "pool": 2}, {"criterion": "random"}], ids=["pool", "random"]
)
def test_same_seed_same_trajectory_bit_for_bit(env_id, options):
    if "pool" in options:
        others = _SHIPPED_POOLS.get(env_id, {"pool": 1}) if "TDMPC" in env_id or "SB3" in env_id else {"latent_dim": 5}
        options = options | others
    steps = 3 if "MNIST" in env_id or "TDMPC" in env_id else 8
    first = rollout(make_or_skip(env_id, **options), 3, steps)
    assert same(first, rollout(make_or_skip(env_id, **options), 3, steps))
    assert not same(first, rollout(make_or_skip(env_id, **options), 4, steps))


def test_a_pickled_environment_goes_the_same_way(make):
    env = make(rounds=2).unwrapped
    assert same(rollout(env, 5, 4), rollout(pickle.loads(pickle.dumps(env)), 5, 4))


def test_reset_restores_the_dense_network_bit_for_bit(make):
    env = make(rounds=2).unwrapped
    env.reset(seed=0)
    train_state = env.network.train_state

    def everything():
        states = [v for o in train_state.optimizers for s in o.state.values() for v in s.values()]
        return [
            t.clone()
            for t in (*train_state.model.state_dict().values(), *states, *train_state.tracker.state_dict().values())
        ]

    before = everything()
    env.step(np.full(7, 0.6, dtype=np.float32))
    assert any(a.shape != b.shape for a, b in zip(before, everything(), strict=True))
    env.reset()
    assert all(torch.equal(a, b) for a, b in zip(before, everything(), strict=True))


def test_stepping_after_the_end_is_an_error(make):
    env = make(rounds=1).unwrapped
    with pytest.raises(RuntimeError, match="reset"):
        PruningEnv("autoencoder", **QUICK).step(np.zeros(7))
    env.reset(seed=0)
    env.step(np.zeros(7))
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.zeros(7))


def test_a_pool_differs_in_seeds_and_latent_sizes_and_holds_out_both():
    options = {"dense_steps": 100, "learning_rate": 0.005, "steps_per_round": 1}
    train = PruningEnv("autoencoder", pool=8, **options).labels
    held_out = PruningEnv("autoencoder", pool=8, split="held_out", **options).labels
    assert {s for _, s in train} == {f"latent_dim={n}" for n in (4, 8, 16, 32)}
    assert {s for _, s in held_out} == {f"latent_dim={n}" for n in (6, 12, 24)}
    assert len({label for label, _ in train + held_out}) == 16
    fixed = PruningEnv("autoencoder", pool=3, split="held_out", latent_dim=5, **options)
    assert {s for _, s in fixed.labels} == {"autoencoder"}


def test_infos_hold_the_same_entries_at_every_step(make):
    env = make(rounds=2).unwrapped
    infos = [info for _, _, info in rollout(env, 0, 3)]
    assert infos[0].keys() >= {"groups", "columns", "network", "reward_terms", "executed_ratio"}
    assert all(info.keys() == infos[0].keys() for info in infos)


def test_the_specification_tells_how_long_an_episode_is(make):
    env = make(rounds=3)
    assert env.spec.max_episode_steps == 3
    assert gym.spec("PruneEnv/Autoencoder-v0").max_episode_steps is None  # registered for any number of rounds
    timed = gym.wrappers.TimeAwareObservation(env, flatten=True, normalize_time=True)
    timed.reset(seed=0)
    action = np.zeros(env.action_space.shape, np.float32)
    assert [float(timed.step(action)[0][-1]) for _ in range(3)] == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_vectorised():
    envs = gym.make_vec("PruneEnv/Autoencoder-v0", num_envs=2, vectorization_mode="sync", **QUICK)
    observations, _ = envs.reset(seed=0)
    assert observations.shape == (2, 7 * 14)
    envs.step(envs.action_space.sample())
    envs.close()


def _make_quick():
    return gym.make("PruneEnv/Autoencoder-v0", **QUICK)


def test_sb3_subprocesses_agree_with_this_process():
    vec = SubprocVecEnv([_make_quick] * 2, start_method="spawn")
    try:
        vec.seed(7)
        observations = vec.reset()
        stepped, rewards, _, _ = vec.step(np.full((2, 7), 0.3, dtype=np.float32))
    finally:
        vec.close()
    env = _make_quick()
    assert np.array_equal(observations[0], env.reset(seed=7)[0])
    observation, reward, *_ = env.step(np.full(7, 0.3, dtype=np.float32))
    assert np.array_equal(stepped[0], observation) and rewards[0] == reward


def test_class_docstring_has_the_standard_headings():
    headings = [line.strip() for line in PruningEnv.__doc__.splitlines() if line.strip().startswith("## ")]
    assert headings == [
        f"## {h}"
        for h in (
            "Description",
            "Action Space",
            "Observation Space",
            "Rewards",
            "Starting State",
            "Episode End",
            "Arguments",
            "Version History",
        )
    ]


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_switched_off(make, context):
    def reward(around):
        with around():
            env = make(rounds=1)
            env.reset(seed=0)
            return env.step(np.full(7, 0.3, dtype=np.float32))[1]

    assert reward(context) == reward(torch.enable_grad)


def test_it_works_under_another_default_dtype(make):
    def reward():
        env = make(rounds=1)
        env.reset(seed=0)
        return env.step(np.full(7, 0.3, dtype=np.float32))[1]

    usual = reward()
    torch.set_default_dtype(torch.float64)
    try:
        assert reward() == usual
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_docstring_names_every_objective_and_column():
    text = PruningEnv.__doc__
    assert all(f"| {name}" in text for name in OBJECTIVES)
    assert all(column in text for column in FORMS["full"])
    documented = PruningConfig.__doc__
    assert all(f"{name}: " in documented for name in FIELDS)
