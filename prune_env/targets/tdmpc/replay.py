"""Episodes that were lived through, and the stretches of them that training draws.

Pictures are kept once, as bytes; an observation stacks the last `stack` of them when it is drawn.

Letters: E episodes, T steps of an episode, H horizon [steps], B batch, A actions; "..." is the shape of one frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from prune_env.targets.tdmpc.losses import Batch


@dataclass(frozen=True)
class Episodes:
    """Whole episodes.

    Attributes:
        frames: What was seen, [E, T + stack, ...]; the first frame is there `stack` times.
        actions: [E, T, A].
        rewards: As the task gave them, [E, T].
    """

    frames: Tensor
    actions: Tensor
    rewards: Tensor

    @property
    def returns(self) -> Tensor:
        """Sum of rewards of every episode, [E]."""
        return self.rewards.sum(1)


_COUNTS = ("lived", "updates", "parameters", "collected")


class Replay:
    """The last episodes, drawn from with equal chances, and the generator that draws.

    The paper draws by priority; here every stretch is as likely as any other.

    Args:
        capacity: How many episodes are kept.
        horizon: H.
        stack: Frames in an observation.
        rewards: What the task's least and largest reward are; they are learnt as 0 and 1.
        generator: Draws stretches, shifts and noise, also for whoever acts for this replay.

    Attributes:
        lived: Episodes that were ever put in.
        updates: How often it was learnt from.
        parameters: Size of the controller that lived through the last ones; 0 if none did.
        collected: How many updates there had been then.
    """

    def __init__(
        self, capacity: int, horizon: int, stack: int, rewards: tuple[float, float], generator: torch.Generator
    ):
        self.capacity, self.horizon, self.stack, self.generator = capacity, horizon, stack, generator
        self._low, self._high = rewards
        self.lived = self.updates = self.parameters = self.collected = 0
        self._held: Episodes | None = None

    def __len__(self) -> int:
        """How many episodes are held."""
        return min(self.lived, self.capacity)

    def add(self, episodes: Episodes) -> None:
        """Put in episodes, in place of the oldest if there is no room."""
        if self._held is None:
            new = (episodes.frames, episodes.actions, episodes.rewards)
            self._held = Episodes(*(self._room(x[:0]) for x in new))
        held = self._held
        for i in range(len(episodes.rewards)):
            place = self.lived % self.capacity
            held.frames[place] = episodes.frames[i]
            held.actions[place] = episodes.actions[i]
            held.rewards[place] = (episodes.rewards[i] - self._low) / (self._high - self._low)
            self.lived += 1

    def state_dict(self) -> dict[str, Tensor]:
        """All that it holds."""
        state = {name: torch.tensor(getattr(self, name)) for name in _COUNTS}
        if self._held is not None:
            held, count = self._held, len(self)
            state |= {"frames": held.frames[:count], "actions": held.actions[:count], "rewards": held.rewards[:count]}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Hold what `state_dict` returned, for a replay with the same capacity."""
        for name in _COUNTS:
            setattr(self, name, int(state[name]))
        self._held = None
        if "frames" in state:
            self._held = Episodes(*(self._room(state[name]) for name in ("frames", "actions", "rewards")))

    def _room(self, like: Tensor) -> Tensor:
        """Place for all episodes, the first of which are `like`; pages that are not written to cost no memory."""
        room = like.new_empty((self.capacity, *like.shape[1:]))
        room[: len(like)] = like
        return room

    def sample(self, size: int, pad: int = 0) -> Batch:
        """B = `size` stretches of H steps; frames are shifted by up to `pad` pixels, each observation by its own.

        Raises:
            RuntimeError: If no episode is held.
        """
        if self._held is None:
            raise RuntimeError("the replay holds no episode yet: add some before drawing from it")
        held, horizon = self._held, self.horizon
        length = held.actions.shape[1]
        episode = torch.randint(len(self), (size, 1), generator=self.generator)
        begin = torch.randint(length - horizon + 1, (size, 1), generator=self.generator)
        steps = begin + torch.arange(horizon)
        place = episode * held.frames.shape[1] + begin + torch.arange(horizon + self.stack)
        frames = held.frames.flatten(0, 1).index_select(0, place.flatten())  # ten times as fast as two indices
        frames = frames.unflatten(0, place.shape)  # [B, H + stack, ...]
        observations = stacked(frames, self.stack, pad, self.generator)
        action, reward = held.actions[episode, steps], held.rewards[episode, steps]
        return Batch(
            observations[0], observations[1:], action.transpose(0, 1).contiguous(), reward.T.unsqueeze(2).contiguous()
        )


class ReplayStream:
    """The same replay, again and again: what training iterates over."""

    def __init__(self, replay: Replay):
        self._replay = replay
        self.state_dict, self.load_state_dict = replay.state_dict, replay.load_state_dict

    def __iter__(self) -> ReplayStream:
        return self

    def __next__(self) -> Replay:
        return self._replay


def stacked(frames: Tensor, stack: int, pad: int = 0, generator: torch.Generator | None = None) -> Tensor:
    """Observations [n, B, ...] of frames [B, n - 1 + stack, ...], each the frames up to it along their first dimension.

    With `pad`, observation (i, b) is moved by a shift of its own, up to `pad` pixels each way, and the border repeated:
    the paper's augmentation with the whole-pixel shifts that it draws, as copies of bytes.
    """
    count = frames.shape[1] - stack + 1
    if not pad:
        return torch.stack([frames[:, i : i + stack].flatten(1, 2) for i in range(count)])
    size = frames.shape[-1]
    padded = _padded(frames, pad).numpy()
    shifts = torch.randint(2 * pad + 1, (count, len(frames), 2), generator=generator).tolist()
    result = frames.new_empty((count, len(frames), stack, *frames.shape[2:]))
    copies = result.numpy()  # whose small slices are cheaper to take than a tensor's
    for i, row in enumerate(shifts):
        for b, (x, y) in enumerate(row):
            copies[i, b] = padded[b, i : i + stack, :, y : y + size, x : x + size]
    return result.flatten(2, 3)


def _padded(frames: Tensor, pad: int) -> Tensor:
    """Frames [..., S, S] with their border repeated `pad` times, [..., S + 2 pad, S + 2 pad]."""
    size = frames.shape[-1]
    padded = frames.new_empty((*frames.shape[:-2], size + 2 * pad, size + 2 * pad))
    rows = padded[..., pad:-pad, :]
    rows[..., pad:-pad] = frames
    rows[..., :pad], rows[..., -pad:] = frames[..., :1], frames[..., -1:]
    padded[..., :pad, :], padded[..., -pad:, :] = rows[..., :1, :], rows[..., -1:, :]
    return padded
