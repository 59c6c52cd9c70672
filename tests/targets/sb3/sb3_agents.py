"""Small agents of every algorithm, hardly trained, and a pixel environment for those with a CNN."""

import copy
from functools import cache

import gymnasium as gym
import numpy as np
import sb3_contrib
import stable_baselines3
import torch

from prune_env.dense.train_state import TrainState
from prune_env.targets import SB3Agent


class Catch(gym.Env):
    """A ball falls, a paddle catches it: 36 x 36 pixels, channels last."""

    observation_space = gym.spaces.Box(0, 255, (36, 36, 1), np.uint8)

    def __init__(self, continuous=False):
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32) if continuous else gym.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.row, self.column, self.paddle = 0, int(self.np_random.integers(9)), 4
        return self._picture(), {}

    def step(self, action):
        move = int(np.sign(np.round(action[0]))) if isinstance(self.action_space, gym.spaces.Box) else int(action) - 1
        self.paddle = min(max(self.paddle + move, 0), 8)
        self.row += 1
        over = self.row == 8
        reward = (1.0 if self.paddle == self.column else -1.0) if over else 0.0
        return self._picture(), reward, over, False, {}

    def _picture(self):
        picture = np.zeros((9, 9), np.uint8)
        picture[self.row, self.column] = 255
        picture[8, self.paddle] = 255
        return picture.repeat(4, axis=0).repeat(4, axis=1)[..., None]


gym.register("TestCatch-v0", entry_point=Catch)

_SMALL = {"net_arch": [16, 12]}
_OFF = {"buffer_size": 500, "learning_starts": 20, "batch_size": 16}
_CNN = {"features_extractor_kwargs": {"features_dim": 24}}
AGENTS = {
    "ppo": ("PPO", "MlpPolicy", "CartPole-v1", {}, {"n_steps": 32, "batch_size": 32, "policy_kwargs": _SMALL}),
    "ppo-box": ("PPO", "MlpPolicy", "Pendulum-v1", {}, {"n_steps": 32, "batch_size": 32, "policy_kwargs": _SMALL}),
    "a2c-gsde": ("A2C", "MlpPolicy", "Pendulum-v1", {}, {"use_sde": True, "policy_kwargs": _SMALL}),
    "sac": ("SAC", "MlpPolicy", "Pendulum-v1", {}, {**_OFF, "policy_kwargs": _SMALL}),
    "sac-gsde": ("SAC", "MlpPolicy", "Pendulum-v1", {}, {**_OFF, "use_sde": True, "policy_kwargs": _SMALL}),
    "td3": ("TD3", "MlpPolicy", "Pendulum-v1", {}, {**_OFF, "policy_kwargs": _SMALL}),
    "ddpg": ("DDPG", "MlpPolicy", "Pendulum-v1", {}, {**_OFF, "policy_kwargs": {**_SMALL}}),
    "dqn": ("DQN", "MlpPolicy", "CartPole-v1", {}, {**_OFF, "policy_kwargs": _SMALL}),
    "tqc": ("TQC", "MlpPolicy", "Pendulum-v1", {}, {**_OFF, "policy_kwargs": _SMALL}),
    "ppo-cnn": ("PPO", "CnnPolicy", "TestCatch-v0", {}, {"n_steps": 32, "batch_size": 32, "policy_kwargs": _CNN}),
    "dqn-cnn": ("DQN", "CnnPolicy", "TestCatch-v0", {}, {**_OFF, "policy_kwargs": _CNN}),
    "sac-cnn": (
        "SAC", "CnnPolicy", "TestCatch-v0", {"continuous": True}, {**_OFF, "policy_kwargs": {**_CNN, **_SMALL}}
    ),
    "td3-cnn-shared": (
        "TD3", "CnnPolicy", "TestCatch-v0", {"continuous": True},
        {**_OFF, "policy_kwargs": {**_CNN, **_SMALL, "share_features_extractor": True}},
    ),
}  # fmt: skip


def algorithm_class(name):
    return getattr(stable_baselines3, AGENTS[name][0], None) or getattr(sb3_contrib, AGENTS[name][0])


def make(name):
    _, _, env_id, env_kwargs, _ = AGENTS[name]
    return gym.make(env_id, **env_kwargs)


@cache
def agent(name):
    """An agent after a few steps of learning; not to be changed."""
    _, policy, _, _, arguments = AGENTS[name]
    model = algorithm_class(name)(policy, make(name), seed=0, device="cpu", **copy.deepcopy(arguments))
    return model.learn(64)


def target(name, **options):
    _, _, env_id, env_kwargs, _ = AGENTS[name]
    return SB3Agent(agent(name), env_id, env_kwargs=env_kwargs, **{"episodes": 3, **options})


@cache
def _dense_state(name, critics):
    state = TrainState.fresh(target(name, critics=critics), torch.Generator().manual_seed(0))
    return state, state.snapshot()


def cut_state(name, critics=False, share=0.5, seed=0):
    """The train state of an agent's network without a random share of its channels; the same object for one name."""
    state, dense = _dense_state(name, critics)
    state.restore(dense)
    cut(state, share, seed)
    return state


def cut(state, share=0.5, seed=0):
    """Remove a random share of the channels, and never all of a group."""
    keep = torch.rand(len(state.surgeon.present), generator=torch.Generator().manual_seed(seed)) > share
    for g in range(len(state.surgeon.grouping)):
        keep[(state.surgeon.group_of == g).nonzero()[0]] = True
    state.cut(keep)


def observations(made, count=6):
    """Observations [count, ...] of the environment, as it gives them."""
    env = gym.make(made.env, **made.env_kwargs)
    env.reset(seed=0)
    env.action_space.seed(0)
    return np.stack([env.step(env.action_space.sample())[0] for _ in range(count)])
