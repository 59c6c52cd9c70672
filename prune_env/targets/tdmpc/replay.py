"""Replay of episodes, from which training draws subsequences.

Frames are stored once, as bytes; an observation stacks the last `stack` of them when it is drawn.

Letters: E episodes, T steps of an episode, H horizon [steps], B batch, A actions; "..." is the shape of one frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from prune_env.targets.tdmpc.losses import Batch
from prune_env.targets.transfer import to_device


@dataclass(frozen=True)
class Episodes:
    """Whole episodes.

    Attributes:
        frames: Frames or numbers seen, [E, T + stack, ...]; the first one is repeated `stack` times.
        actions: [E, T, A].
        rewards: Rewards of the task, [E, T].
    """

    frames: Tensor
    actions: Tensor
    rewards: Tensor

    @property
    def returns(self) -> Tensor:
        """Sum of rewards of every episode, [E]."""
        return self.rewards.sum(1)


_COUNTS = ("episodes_added", "updates", "parameters", "collected")


class Replay:
    """The latest episodes, and the generator that draws from them.

    Every subsequence is equally likely; the paper draws by priority.

    Args:
        capacity: Episodes that are kept.
        horizon: H.
        stack: Frames in an observation.
        rewards: Least and largest reward of the task, which are scaled to 0 and 1.
        generator: Draws subsequences, shifts and noise, also for actors and updates; a generator of the CPU, so that
            draws are the same on every device.
        device: Device of the batches: the model's.
        storage: Where episodes are kept; by default on `device`, which is fast and takes `capacity` episodes of memory
            there. On the CPU, the frames of every batch have to be copied.

    Attributes:
        episodes_added: Episodes added so far, including those that were replaced.
        updates: Updates that drew from it so far.
        parameters: Size of the controller that collected the latest episodes; 0 if there are none.
        collected: `updates` when they were collected.
    """

    def __init__(
        self,
        capacity: int,
        horizon: int,
        stack: int,
        rewards: tuple[float, float],
        generator: torch.Generator,
        device: torch.device | str = "cpu",
        storage: torch.device | str | None = None,
    ):
        self.capacity, self.horizon, self.stack, self.generator = capacity, horizon, stack, generator
        self.device = torch.device(device)
        self.storage = self.device if storage is None else torch.device(storage)
        self._low, self._high = rewards
        self.episodes_added = self.updates = self.parameters = self.collected = 0
        self._held: Episodes | None = None

    def __len__(self) -> int:
        """Number of episodes held."""
        return min(self.episodes_added, self.capacity)

    def add(self, episodes: Episodes) -> None:
        """Add episodes; they replace the oldest if the replay is full."""
        if self._held is None:
            new = (episodes.frames, episodes.actions, episodes.rewards)
            self._held = Episodes(*(self._room(x[:0]) for x in new))
        held = self._held
        for i in range(len(episodes.rewards)):
            place = self.episodes_added % self.capacity
            held.frames[place] = episodes.frames[i]
            held.actions[place] = episodes.actions[i]
            held.rewards[place] = (episodes.rewards[i] - self._low) / (self._high - self._low)
            self.episodes_added += 1

    def state_dict(self) -> dict[str, Tensor]:
        """Episodes and counts, by name."""
        state = {name: torch.tensor(getattr(self, name)) for name in _COUNTS}
        if self._held is not None:
            held, count = self._held, len(self)
            state |= {"frames": held.frames[:count], "actions": held.actions[:count], "rewards": held.rewards[:count]}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` of a replay with the same capacity returned."""
        for name in _COUNTS:
            setattr(self, name, int(state[name]))
        self._held = None
        if "frames" in state:
            self._held = Episodes(*(self._room(state[name]) for name in ("frames", "actions", "rewards")))

    def _room(self, like: Tensor) -> Tensor:
        """Memory for all episodes, beginning with `like`; on the CPU, pages that are not written cost nothing."""
        room = like.new_empty((self.capacity, *like.shape[1:]), device=self.storage)
        room[: len(like)] = like
        return room

    def sample(self, size: int, pad: int = 0) -> Batch:
        """Draw B = `size` subsequences of H steps; each observation is shifted at random by up to `pad` pixels.

        Raises:
            RuntimeError: If no episode is held.
        """
        if self._held is None:
            raise RuntimeError("the replay holds no episode yet: add some, or call collect(model, batch) of the target")
        held, horizon = self._held, self.horizon
        length = held.actions.shape[1]
        episode = torch.randint(len(self), (size, 1), generator=self.generator)
        begin = torch.randint(length - horizon + 1, (size, 1), generator=self.generator)
        steps = episode * length + begin + torch.arange(horizon)
        place = episode * held.frames.shape[1] + begin + torch.arange(horizon + self.stack)
        frames = self._take(held.frames, place)  # [B, H + stack, ...]
        observations = stack_frames(frames, self.stack, pad, self.generator)
        action, reward = self._take(held.actions, steps.T), self._take(held.rewards, steps.T)
        return Batch(observations[0], observations[1:], action, reward.unsqueeze(2))

    def _take(self, held: Tensor, index: Tensor) -> Tensor:
        """Rows of `held`, [E, T, ...], at flat indices over E and T, on the batches' device: [*index.shape, ...]."""
        index_there = to_device(index.flatten(), self.storage)
        taken = held.flatten(0, 1).index_select(0, index_there)  # ten times as fast as two indices
        return to_device(taken, self.device).unflatten(0, index.shape)


class ReplayStream:
    """An endless stream that yields the same replay: an update draws from it by itself."""

    def __init__(self, replay: Replay):
        self._replay = replay
        self.state_dict, self.load_state_dict = replay.state_dict, replay.load_state_dict

    def __iter__(self) -> ReplayStream:
        return self

    def __next__(self) -> Replay:
        return self._replay


def stack_frames(frames: Tensor, stack: int, pad: int = 0, generator: torch.Generator | None = None) -> Tensor:
    """Stack frames [B, n - 1 + stack, C, ...] to observations [n, B, stack * C, ...].

    With `pad`, every observation is shifted at random by up to `pad` pixels in x and y, and its border repeated: the
    paper's augmentation, by whole pixels.

    Args:
        frames: Consecutive frames.
        stack: Frames in an observation.
        pad: Largest shift [px].
        generator: Draws the shifts, on the CPU.
    """
    count = frames.shape[1] - stack + 1
    if not pad:
        return torch.stack([frames[:, i : i + stack].flatten(1, 2) for i in range(count)])
    shifts = torch.randint(2 * pad + 1, (count, len(frames), 2), generator=generator)
    shift = _shifted_slices if frames.device.type == "cpu" else _shifted_by_index
    return shift(frames, stack, pad, shifts)


def _shifted_slices(frames: Tensor, stack: int, pad: int, shifts: Tensor) -> Tensor:
    """Observations shifted by `shifts` [n, B, (x, y)] by copying slices, which is the fastest way on the CPU."""
    size = frames.shape[-1]
    padded = _padded(frames, pad).numpy()
    result = frames.new_empty((*shifts.shape[:2], stack, *frames.shape[2:]))
    copies = result.numpy()  # small slices of arrays are cheaper than those of tensors
    for i, row in enumerate(shifts.tolist()):
        for b, (x, y) in enumerate(row):
            copies[i, b] = padded[b, i : i + stack, :, y : y + size, x : x + size]
    return result.flatten(2, 3)


def _shifted_by_index(frames: Tensor, stack: int, pad: int, shifts: Tensor) -> Tensor:
    """The same in one operation, for other devices; channels are last in memory, as convolutions prefer."""
    (batch, _, channels, size, _), device = frames.shape, frames.device
    pixel = torch.arange(size, device=device) - pad
    x, y = (to_device(shifts, device).unsqueeze(-1) + pixel).clamp_(0, size - 1).unbind(2)  # [n, B, S]
    windows = frames.permute(0, 3, 4, 1, 2).flatten(3).unfold(3, stack * channels, channels)  # [B, S, S, n, channels]
    i = torch.arange(len(shifts), device=device).view(-1, 1, 1, 1)
    b = torch.arange(batch, device=device).view(-1, 1, 1)
    return windows[b, y.unsqueeze(3), x.unsqueeze(2), i].permute(0, 1, 4, 2, 3)


def _padded(frames: Tensor, pad: int) -> Tensor:
    """Frames [..., S, S] with their border repeated `pad` times, [..., S + 2 pad, S + 2 pad]."""
    size = frames.shape[-1]
    padded = frames.new_empty((*frames.shape[:-2], size + 2 * pad, size + 2 * pad))
    rows = padded[..., pad:-pad, :]
    rows[..., pad:-pad] = frames
    rows[..., :pad], rows[..., -pad:] = frames[..., :1], frames[..., -1:]
    padded[..., :pad, :], padded[..., -pad:, :] = rows[..., :1, :], rows[..., -1:, :]
    return padded
