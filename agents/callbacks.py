"""Callbacks for training an agent: calibration, TensorBoard scalars, progress bar, checkpoints, evaluation."""

from __future__ import annotations

import io
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.vec_env import VecEnv
from tqdm import tqdm

from prune_env.agents.evaluations import FILE_NAME, Evaluations, read_evaluations
from prune_env.agents.policies import Grouped
from prune_env.storage import DamagedFileError

CALIBRATION_RESETS = 256  # observations of dense networks by which a GroupPolicy standardises its columns
_log = logging.getLogger(__name__)


class Calibration(BaseCallback):
    """Standardise the columns of a GroupPolicy before its first rollout, where `train_agent` does not: in rl-zoo3.

    The observations are those of dense networks, from resets of the training environments.
    """

    def _on_training_start(self) -> None:
        policy = self.model.policy
        if isinstance(policy, Grouped) and self.model.num_timesteps == 0:
            resets = -(-CALIBRATION_RESETS // self.training_env.num_envs)
            observations = np.concatenate([np.asarray(self.training_env.reset()) for _ in range(resets)])
            policy.calibrate(torch.as_tensor(observations), self.training_env.get_attr("columns", 0)[0])
            self.model._last_obs = self.training_env.reset()  # type: ignore[assignment]  # SB3's name for its own arrays

    def _on_step(self) -> bool:
        return True


class PruningScalars(BaseCallback):
    """Log reward terms (sparsities, retained score) and the executed ratio of every group to TensorBoard.

    Values are means over the rounds since SB3 last wrote its log.

    Args:
        group_names: Names of the environment's groups.
    """

    def __init__(self, group_names: tuple[str, ...]):
        super().__init__()
        self._group_names = group_names

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            for name, value in info["reward_terms"].items():
                self.logger.record_mean(f"pruning/{name}", float(value))
            self.logger.record_mean("pruning/collapsed", float(info["collapsed"]))
            if "kind" in info:  # of the zoo, in which a place means another group in every kind of network
                continue
            for name, ratio in zip(self._group_names, info["executed_ratio"], strict=True):
                self.logger.record_mean(f"ratios/{name}", float(ratio))
        return True


class ProgressBar(BaseCallback):
    """A progress bar over the training steps, with the mean retained score of the last rollout.

    Args:
        total: Number of training steps at the end.
        description: Text in front of the bar.
    """

    def __init__(self, total: int, description: str):
        super().__init__()
        self._total, self._description = total, description
        self._recent: list[float] = []
        self._bar: tqdm | None = None

    def _on_training_start(self) -> None:
        self._bar = tqdm(total=self._total, initial=self.num_timesteps, desc=self._description, unit="cut")

    def _on_step(self) -> bool:
        self._recent += [info["reward_terms"]["retained"] for info in self.locals["infos"]]
        if self._bar is not None:
            self._bar.update(self.num_timesteps - self._bar.n)
        return True

    def _on_rollout_end(self) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(f"retained {np.mean(self._recent):.3f}")
        self._recent.clear()

    def _on_training_end(self) -> None:
        self.close()

    def close(self) -> None:
        """End the line of the bar, also after an interruption."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Checkpoints(BaseCallback):
    """Save the agent periodically, at the end of a rollout, so that an interrupted run resumes from there.

    Args:
        save: Function without arguments that saves the agent.
        every: Steps between saves, at least.
    """

    def __init__(self, save: Callable[[], None], every: int):
        super().__init__()
        self._save, self._every = save, every
        self._learned = 0  # steps whose rollouts the agent has learned from
        self._updating = self._interrupted = False

    def _on_training_start(self) -> None:
        self._saved_at = self.num_timesteps

    def _on_rollout_start(self) -> None:
        self._learned, self._updating = self.num_timesteps, False
        if self._interrupted:
            raise KeyboardInterrupt

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self.num_timesteps - self._saved_at >= self._every:
            self._save()
            self._saved_at = self.num_timesteps
        self._updating = True

    @contextmanager
    def saving_interruptions(self) -> Iterator[None]:
        """Save an agent whose training is interrupted within, without the rollout that it has not learned from.

        Ctrl-C waits for the end of an update, half of which would be of no use; pressed again, it does not.
        """

        def handle(number: int, frame: FrameType | None) -> None:
            if self._interrupted or not self._updating:
                raise KeyboardInterrupt
            self._interrupted = True

        # A program that handles interrupts itself keeps its own way.
        ours = current_thread() is main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if ours:
            signal.signal(signal.SIGINT, handle)
        try:
            yield
        except KeyboardInterrupt:
            if self._learned and not self._updating:
                self.model.num_timesteps = self._learned
                self._save()
            raise
        finally:
            if ours:
                signal.signal(signal.SIGINT, signal.default_int_handler)


class SameEpisodes(EvalCallback):
    """SB3's EvalCallback on the same networks, budgets and batches every time, so that evaluations can be compared.

    SB3 writes `evaluations.npz` in place, where a kill cuts it short; here it is written atomically.

    Args:
        env: As for `EvalCallback`.
        path: Path of the learning curve.
        seed: Seed of the episodes.
        **kwargs: As for `EvalCallback`.
    """

    def __init__(self, env: VecEnv, path: Path, *, seed: int, **kwargs: Any):
        super().__init__(env, log_path=str(path.parent), **kwargs)
        self._path, self._seed = path, seed

    def _on_step(self) -> bool:
        if self.n_calls % self.eval_freq:
            return super()._on_step()
        self.eval_env.seed(self._seed)
        self.log_path = io.BytesIO()  # type: ignore[assignment]  # what SB3 writes in place goes nowhere
        goes_on = super()._on_step()
        curve = (self.evaluations_timesteps, self.evaluations_results, self.evaluations_length)
        Evaluations(*map(np.array, curve)).write(self._path)
        return goes_on


def evaluation(
    env: VecEnv,
    folder: Path,
    every: int,
    episodes: int,
    seed: int,
    since: int = 0,
    after: BaseCallback | None = None,
) -> EvalCallback:
    """Evaluate periodically, deterministically, and keep the learning curve in `evaluations.npz`.

    Args:
        env: Environment of training networks; held-out ones are for benchmarks only.
        folder: Folder of the file.
        every: Calls of the vectorised environment between evaluations.
        episodes: Episodes of each evaluation.
        seed: Seed of these episodes.
        since: Steps that a resumed training starts from; evaluations after it are dropped, as they will be repeated.
        after: Called after each evaluation.
    """
    path = folder / FILE_NAME
    callback = SameEpisodes(
        env,
        path,
        callback_after_eval=after,
        eval_freq=every,
        n_eval_episodes=episodes,
        deterministic=True,
        verbose=0,
        seed=seed,
    )
    if path.is_file():
        try:
            saved = read_evaluations(path)
        except DamagedFileError as error:
            _log.warning("%s; the learning curve starts anew", error)
            return callback
        kept = saved.timesteps <= since
        callback.evaluations_timesteps = saved.timesteps[kept].tolist()
        callback.evaluations_results = saved.results[kept].tolist()
        callback.evaluations_length = saved.lengths[kept].tolist()
    return callback
