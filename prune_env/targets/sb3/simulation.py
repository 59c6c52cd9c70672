"""Episodes of a Gymnasium environment under fixed seeds: several at a time, so that the network sees batches.

Letters: E episodes, B those that still run.
"""

from __future__ import annotations

import hashlib
import inspect
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

Actor = Callable[[Tensor], Tensor]
"""From observations [B, ...], as the policy takes them, to actions in the environment's units [B, ...]."""
MOST_STEPS = 10_000
"""Steps after which an episode is cut off that its environment does not end [steps]."""


class Normalizer:
    """The statistics that VecNormalize has saved for observations; returns are scored as they are.

    Args:
        content: The file that `VecNormalize.save` wrote; it is unpickled.

    Raises:
        ValueError: If it is no such file.
    """

    def __init__(self, content: bytes):
        try:
            wrapper = pickle.loads(content)  # the caller has asked whether the file is to be trusted
            self.wrapper = wrapper
            self.active = bool(wrapper.norm_obs)
            self.statistics = np.asarray(wrapper.obs_rms.mean), np.asarray(wrapper.obs_rms.var)
            self.epsilon, self.clip = float(wrapper.epsilon), float(wrapper.clip_obs)
        except Exception as error:  # unpickling may raise anything
            raise ValueError(f"the statistics of VecNormalize cannot be read: {error}") from error

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Observations as VecNormalize gives them, bit for bit."""
        return self.wrapper.normalize_obs(observations) if self.active else observations


class Simulator:
    """Copies of one environment, made when they are needed.

    Args:
        env_id: Gymnasium's id.
        env_kwargs: Arguments of the environment.
        observation_space: What the policy reads: the environment's, or its images with channels first.
        action_space: How the policy acts.
        normalizer: What is done to observations before the policy reads them.

    Raises:
        ValueError: If there is no such environment, or it does not fit the policy.
    """

    def __init__(
        self,
        env_id: str,
        env_kwargs: Mapping[str, Any],
        observation_space: gym.Space,
        action_space: gym.Space,
        normalizer: Normalizer | None = None,
    ):
        self._env_id, self._env_kwargs = env_id, dict(env_kwargs)
        self._space, self._normalizer = observation_space, normalizer
        self._envs: list[gym.Env] = []
        (env,) = self._copies(1)
        self.code = _code_of(type(env.unwrapped))
        self.channels_last = _is_transposed(env.observation_space, observation_space)
        fits = self.channels_last or env.observation_space.shape == observation_space.shape
        for what, own, of_policy, same in (
            ("observations", env.observation_space, observation_space, fits),
            ("actions", env.action_space, action_space, _same_actions(env.action_space, action_space)),
        ):
            if not same:
                raise ValueError(
                    f"the {what} of {env_id!r} are {own}, those of the agent {of_policy}: register an environment "
                    "with the wrappers that it was trained behind (gym.register), and give its id"
                )

    def returns(
        self,
        act: Actor | None,
        seeds: Sequence[int],
        see: Callable[[Tensor], None] | None = None,
        raw: bool = False,
    ) -> np.ndarray:
        """The sum of rewards of one episode for each seed, [E].

        Args:
            act: What acts; None for random actions.
            seeds: Of the environment, and of random actions.
            see: Called with the observations [B, ...] of every step.
            raw: Whether `act` takes observations as the environment gives them, not as the policy reads them.
        """
        envs, total = self._copies(len(seeds)), np.zeros(len(seeds))
        observations = [env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=True)]
        if act is None:
            for env, seed in zip(envs, seeds, strict=True):
                env.action_space.seed(seed)
        running = list(range(len(seeds)))
        for _ in range(MOST_STEPS):
            if not running:
                break
            given = np.stack([observations[i] for i in running])
            read = torch.from_numpy(given) if raw else self.read(given)
            if see is not None:
                see(read)
            actions = [envs[i].action_space.sample() for i in running] if act is None else act(read).cpu().numpy()
            left = []
            for i, action in zip(running, actions, strict=True):
                observations[i], reward, terminated, truncated, _ = envs[i].step(action)
                total[i] += float(reward)
                if not (terminated or truncated):
                    left.append(i)
            running = left
        return total

    def read(self, observations: np.ndarray) -> Tensor:
        """A batch of the environment's observations as the policy reads them, before `preprocess`."""
        if self.channels_last:
            observations = np.moveaxis(observations, -1, 1)
        if self._normalizer is not None:
            observations = self._normalizer(observations)
        return torch.from_numpy(np.ascontiguousarray(observations))

    def read_exported(self, observations: Tensor) -> Tensor:
        """The same as `read` in torch alone, in single precision, as an exported network does it."""
        x = observations.movedim(-1, 1) if self.channels_last else observations
        if self._normalizer is None or not self._normalizer.active:
            return x
        mean, variance = (torch.as_tensor(v, dtype=torch.float32) for v in self._normalizer.statistics)
        scaled = (x - mean) / (variance + self._normalizer.epsilon).sqrt()
        return scaled.clamp(-self._normalizer.clip, self._normalizer.clip)

    def first_observation(self) -> np.ndarray:
        """An observation of the environment after a reset."""
        (env,) = self._copies(1)
        return np.asarray(env.reset(seed=0)[0])

    def _copies(self, count: int) -> list[gym.Env]:
        while len(self._envs) < count:
            self._envs.append(make_env(self._env_id, self._env_kwargs))
        return self._envs[:count]


def make_env(env_id: str, env_kwargs: Mapping[str, Any]) -> gym.Env:
    """One environment.

    Raises:
        ValueError: If it cannot be made.
    """
    try:
        return gym.make(env_id, disable_env_checker=True, **env_kwargs)
    except (gym.error.Error, TypeError, ModuleNotFoundError) as error:
        raise ValueError(
            f"the environment {env_id!r} cannot be made with {dict(env_kwargs)}: {error}; give the id of an installed "
            "environment, or module:id for one that an import registers"
        ) from error


def _code_of(kind: type) -> str:
    """A hash of the source of an environment's class, and of its name."""
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):
        source = ""
    return hashlib.sha256(f"{kind.__module__}.{kind.__qualname__}\n{source}".encode()).hexdigest()


def _is_transposed(given: gym.Space, wanted: gym.Space) -> bool:
    """Whether images of `given` have their channels last, and those of `wanted` first."""
    one, other = given.shape, wanted.shape
    return one != other and one is not None and other is not None and len(one) == 3 and (one[2], *one[:2]) == other


def _same_actions(given: gym.Space, wanted: gym.Space) -> bool:
    if isinstance(given, gym.spaces.Box) and isinstance(wanted, gym.spaces.Box):
        return bool(
            given.shape == wanted.shape and np.allclose(given.low, wanted.low) and np.allclose(given.high, wanted.high)
        )
    return given == wanted
