"""DDPG as AMC's authors set it, on Stable-Baselines3: truncated normal noise, one reward for all steps of an episode.

He et al. 2018 (arXiv 1802.03494), section 3.2, and their code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.stats import truncnorm
from stable_baselines3 import DDPG
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from prune_env.baselines.amc_environment import GroupwiseEnv

ACTOR_RATE, CRITIC_RATE = 1e-4, 1e-3
SIGMA = 0.5
"""Standard deviation of the noise at first [kept share]."""
DECAY = 0.95
"""Its factor for each episode after the warm-up."""
BASELINE_RATE = 0.5
"""Rate of the moving average over batches that is subtracted from rewards."""


class EpisodeRewards(ReplayBuffer):
    """Every step of an episode gets the reward of its end; batches are drawn less a moving average of rewards."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._open: list[tuple[Any, ...]] = []
        self.baseline: float | None = None

    def add(
        self,
        obs: np.ndarray,
        next_obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """Keep a step until its episode is over, then store all of them."""
        self._open.append((np.array(obs), np.array(next_obs), np.array(action), np.array(done), infos))
        if done.all():
            for one, other, acted, ended, info in self._open:
                super().add(one, other, acted, reward, ended, info)
            self._open = []

    def sample(self, batch_size: int, env: Any = None) -> ReplayBufferSamples:
        """A batch whose rewards are less the moving average."""
        batch = super().sample(batch_size, env)
        mean = float(batch.rewards.mean())
        self.baseline = mean if self.baseline is None else self.baseline + BASELINE_RATE * (mean - self.baseline)
        return batch._replace(rewards=batch.rewards - self.baseline)


class LayerwiseDDPG(DDPG):
    """DDPG on a `GroupwiseEnv`: 300 units in two layers, tau 0.01, batches of 64, 2,000 transitions, gamma 1.

    One update for each step, at the end of its episode. Actor and critic have learning rates of their own. After the
    warm-up, whose actions are uniform, actions are drawn from a normal distribution around the actor's, truncated to
    the bounds, whose standard deviation falls with every episode.

    Args:
        env: The environment.
        warmup: Episodes of the warm-up.
        seed: Of networks, draws and batches.
    """

    def __init__(self, env: GroupwiseEnv, warmup: int, seed: int):
        self._length, self._warmup = env.groups, warmup
        self._random = np.random.default_rng(seed)
        super().__init__(
            "MlpPolicy",
            env,
            buffer_size=2000,
            learning_starts=warmup * env.groups,
            batch_size=64,
            tau=0.01,
            gamma=1.0,
            train_freq=(1, "episode"),
            gradient_steps=-1,
            replay_buffer_class=EpisodeRewards,
            policy_kwargs={"net_arch": [300, 300]},
            seed=seed,
            device="cpu",
        )

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise in the present episode [kept share]."""
        return float(SIGMA * DECAY ** max(self.num_timesteps // self._length - self._warmup, 0))

    def _update_learning_rate(self, optimizers: list[torch.optim.Optimizer] | torch.optim.Optimizer) -> None:
        for optimizer, rate in ((self.actor.optimizer, ACTOR_RATE), (self.critic.optimizer, CRITIC_RATE)):
            for group in optimizer.param_groups:
                group["lr"] = rate

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        low, high = float(self.action_space.low[0]), float(self.action_space.high[0])  # type: ignore[attr-defined]
        if self.num_timesteps < learning_starts:
            drawn = self._random.uniform(low, high, (n_envs, 1))
        else:
            assert self._last_obs is not None
            mean, _ = self.predict(self._last_obs, deterministic=True)
            ends = (low - mean) / self.sigma, (high - mean) / self.sigma
            drawn = truncnorm.rvs(*ends, loc=mean, scale=self.sigma, random_state=self._random)
        action = np.clip(drawn, low, high).astype(np.float32).reshape(n_envs, 1)
        return action, self.policy.scale_action(action)
