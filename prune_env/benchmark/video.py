"""Video of a network at its task, before and after pruning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from prune_env.benchmark.policies import make_policy, policy_title
from prune_env.benchmark.rollout import begin, rollout
from prune_env.envs import PruningEnv
from prune_env.markup import terminal_text
from prune_env.parallel import one_thread
from prune_env.storage import expanded

_POOL = 12  # as in a benchmark, so that its networks are found by their numbers
_MARGIN = 22  # for a line of text [px]


@one_thread()
def video(
    policy: str,
    env: str,
    out: str | Path,
    *,
    budget: float = 0.5,
    network: int = 0,
    seed: int = 0,
    milliseconds: int = 120,
    env_options: dict[str, Any] | None = None,
) -> Path:
    """Prune one held-out network and record it at its test task: dense above, pruned below; returns the GIF's path.

    Args:
        policy: Name of a policy or path of a saved one.
        env: Id of the environment.
        out: The GIF.
        budget: Sparsity to prune to; a reference such as no pruning is run without.
        network: Which of the held-out networks.
        seed: Of the episode's batches, and of a policy that draws.
        milliseconds: How long each picture is shown [ms].
        env_options: Further arguments of the environment.

    Raises:
        ValueError: If the policy is unknown.
        NotImplementedError: If the target records no video.
    """
    options = {"rounds": 1, "split": "held_out", "pool": max(_POOL, network + 1), **(env_options or {})}
    made: PruningEnv = gym.make(env, budget=budget, **options).unwrapped  # type: ignore[assignment]
    agent = make_policy(policy, made)
    observation = begin(made, agent, network, budget, seed)
    before = _caption(made, "dense"), _frames(made)
    rollout(made, agent, observation)
    after = _caption(made, f"pruned by {terminal_text(policy_title(policy))}"), _frames(made)
    pictures = [_stack((before[0], above), (after[0], below)) for above, below in zip(before[1], after[1], strict=True)]
    path = expanded(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0, optimize=True)
    return path


def _frames(env: PruningEnv) -> list[npt.NDArray[np.uint8]]:
    train_state = env.network.train_state
    return train_state.target.video(train_state.model, "test")


def _caption(env: PruningEnv, what: str) -> str:
    train_state = env.network.train_state
    cost, score = env.network.cost(env.episode.widths), train_state.target.score(train_state.model, "test")
    return f"{what}: {int(cost.parameters):,} parameters, {train_state.target.unit} {score:.4g}"


def _stack(*parts: tuple[str, npt.NDArray[np.uint8]]) -> Image.Image:
    """Pictures under their captions."""
    height = sum(picture.shape[0] + _MARGIN for _, picture in parts)
    canvas = Image.new("RGB", (parts[0][1].shape[1], height), "white")
    pen, font, y = ImageDraw.Draw(canvas), ImageFont.load_default(14), 0
    for text, picture in parts:
        pen.text((6, y + 3), text, "black", font)
        canvas.paste(Image.fromarray(picture), (0, y + _MARGIN))
        y += picture.shape[0] + _MARGIN
    return canvas.quantize(64)
