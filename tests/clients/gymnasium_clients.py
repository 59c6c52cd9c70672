"""Gymnasium itself, Minari, MO-Gymnasium and morl-baselines."""

import os
import tempfile
import warnings

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env
from small import ENV_ID, OPTIONS, make

from prune_env.envs import SyncVectorRewardEnv


def gymnasium():
    """check_env, vector environments, wrappers."""
    env = gym.make(ENV_ID, **OPTIONS).unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env)
    for mode in ("sync", "async"):
        wrappers = [lambda env: gym.wrappers.RescaleAction(env, np.float32(-1), np.float32(1))]
        envs = gym.make_vec(ENV_ID, num_envs=2, vectorization_mode=mode, wrappers=wrappers, **OPTIONS)
        envs = gym.wrappers.vector.RecordEpisodeStatistics(envs)
        envs.reset(seed=0, options={"budget": 0.3})
        for _ in range(4):
            _, rewards, _, _, infos = envs.step(envs.action_space.sample())
        assert rewards.shape == (2,) and infos["reward_terms"]["sparsity"].shape == (2,)
        envs.close()
    wrapped = gym.wrappers.NormalizeObservation(gym.wrappers.TimeAwareObservation(make()))
    wrapped = gym.wrappers.RecordEpisodeStatistics(wrapped)
    episodes(wrapped, 3)
    assert wrapped.observation_space.shape == (make().observation_space.shape[0] + 1,)
    return "check_env; make_vec sync and async with reset options; TimeAwareObservation, NormalizeObservation"


def vector_rewards():
    """The vector objective in vector environments of Gymnasium and MO-Gymnasium."""
    from mo_gymnasium.wrappers.vector import MOSyncVectorEnv

    for kind in (SyncVectorRewardEnv, MOSyncVectorEnv):
        envs = kind([lambda: make(objective="vector")] * 2)
        envs.reset(seed=0)
        for _ in range(5):
            _, rewards, *_ = envs.step(envs.action_space.sample())
            assert rewards.shape == (2, 2)
        envs.close()
    mode = gym.vector.AutoresetMode.SAME_STEP
    envs = gym.vector.AsyncVectorEnv([lambda: make(objective="vector")] * 2, autoreset_mode=mode)
    envs.reset(seed=0)
    for _ in range(5):
        _, rewards, *_ = envs.step(envs.action_space.sample())
        assert rewards.shape == (2, 2)
    envs.close()
    return "SyncVectorRewardEnv, AsyncVectorEnv (same-step autoreset), MOSyncVectorEnv"


def minari():
    """Episodes with their infos into a data set, and back."""
    os.environ["MINARI_DATASETS_PATH"] = tempfile.mkdtemp()
    import minari as library

    collector = library.DataCollector(gym.make(ENV_ID, **OPTIONS), record_infos=True)
    episodes(collector, 3)
    collector.create_dataset(
        "pruning/digits-v0",
        algorithm_name="random",
        author="prune_env",
        author_email="prune_env@example.org",
        code_permalink="https://github.com/prune-env/prune_env",
        description="Random cuts of a small autoencoder.",
    )
    loaded = library.load_dataset("pruning/digits-v0")
    for episode in loaded.iterate_episodes():
        assert len(episode.infos["reward_terms"]["sparsity"]) == len(episode.rewards) + 1
    recovered = loaded.recover_environment()
    recovered.reset(seed=0)
    return "3 episodes with infos recorded, stored as HDF5, loaded; environment recovered"


def mo_gymnasium():
    """Its make, and its wrapper that scalarises."""
    import mo_gymnasium as library

    env = library.make(ENV_ID, objective="vector", **OPTIONS)
    assert env.unwrapped.reward_dim == 2 and env.unwrapped.reward_space.shape == (2,)
    env.reset(seed=0)
    _, reward, *_ = env.step(env.action_space.sample())
    assert reward.shape == (2,)
    wrapped = library.wrappers.LinearReward(env, weight=np.array([0.5, 0.5]))
    wrapped.reset(seed=0)
    assert np.ndim(wrapped.step(env.action_space.sample())[1]) == 0
    episodes(library.wrappers.MORecordEpisodeStatistics(env, gamma=1.0), 2)
    return "make, LinearReward, MORecordEpisodeStatistics"


def morl_baselines():
    """CAPQL learns the front of score and sparsity."""
    from morl_baselines.multi_policy.capql.capql import CAPQL

    env = make(objective="vector")
    learner = CAPQL(env, net_arch=[16, 16], batch_size=8, learning_starts=16, buffer_size=100, log=False, seed=0)
    learner.train(total_timesteps=48, eval_env=make(objective="vector"), ref_point=np.array([-1.0, 0.0]))
    observation, _ = env.reset(seed=0)
    env.step(learner.eval(observation, np.array([0.5, 0.5], dtype=np.float32)))
    return "CAPQL, 48 rounds"


def episodes(env, count):
    """Random episodes."""
    for seed in range(count):
        env.reset(seed=seed)
        over = False
        while not over:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            over = terminated or truncated


CASES = {
    "gymnasium": ("gymnasium", gymnasium),
    "gymnasium, vector rewards": ("gymnasium", vector_rewards),
    "minari": ("minari", minari),
    "mo-gymnasium": ("mo-gymnasium", mo_gymnasium),
    "morl-baselines": ("morl-baselines", morl_baselines),
}
