"""Sizes and training constants that are known to work, one recipe for each task and kind of observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prune_env.targets.base import DenseTraining, PoolSplit
from prune_env.targets.tdmpc.losses import Learning
from prune_env.targets.tdmpc.planner import WIDEST
from prune_env.validation import Range, check_fields, check_value

_COUNTS = (
    *("width", "latent_dim", "encoder_width", "stack", "kernels", "action_repeat", "horizon", "batch_size"),
    *("explore_for", "first_episodes", "episodes_per_epoch", "steps_per_epoch", "replay_episodes", "dense_steps"),
    "eval_every",
)
_RANGES: dict[str, Range | tuple[str, ...]] = {
    **dict.fromkeys(_COUNTS, Range(1)),
    **dict.fromkeys(("image", "filters", "shift"), Range(0)),
    "learning_rate": Range(0, ends="()"),
    **dict.fromkeys(("discount", "tau"), Range(0, 1, "(]")),
    **dict.fromkeys(("std", "first_std"), Range(0, WIDEST, "[]")),
    "td_encoder": ("online", "target"),
}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a trained controller is like; the defaults are those of Pendulum from its state.

    Attributes:
        width: Hidden channels of dynamics, reward, policy and values.
        latent_dim: Latent channels.
        encoder_width: Hidden channels of the encoder of numbers.
        image: Size of frames [px].
        gray: Frames of one channel instead of three colours.
        stack: Frames in an observation.
        filters: Filters of every convolution.
        kernels: Sizes of the convolutions' kernels, of stride 2 [px].
        shift: Largest random shift of frames while training [px]; the paper's is a 21st of the image.
        action_repeat: Simulator steps in a step of control.
        horizon: Steps of the latent rollout, in training and in planning.
        batch_size: Stretches of that length in an update.
        learning_rate: Of both optimizers.
        discount: Of rewards, per step of control.
        tau: How far the slow copies move, every second update.
        std: Least noise of the policy's actions; what exploration ends with.
        first_std: What exploration begins with.
        explore_for: How long it takes from there to `std` [updates].
        first_episodes: What training begins with, random actions; of a trained controller, its own.
        episodes_per_epoch: New episodes in an epoch.
        steps_per_epoch: Updates in an epoch.
        replay_episodes: Episodes that are remembered.
        dense_steps: Updates that make a dense controller.
        eval_every: Updates between two looks at it, the best of which is kept.
        td_encoder: See `Learning`.
        bfloat16: See `Learning`.

    Raises:
        ValueError: If a field is of the wrong type or out of its range.
    """

    width: int = 64
    latent_dim: int = 32
    encoder_width: int = 64
    image: int = 0
    gray: bool = False
    stack: int = 1
    filters: int = 0
    kernels: tuple[int, ...] = ()
    shift: int = 0
    action_repeat: int = 4
    horizon: int = 3
    batch_size: int = 64
    learning_rate: float = 1e-3
    discount: float = 0.99
    tau: float = 0.01
    std: float = 0.05
    first_std: float = 0.5
    explore_for: int = 3000
    first_episodes: int = 6
    episodes_per_epoch: int = 2
    steps_per_epoch: int = 100
    replay_episodes: int = 500
    dense_steps: int = 2800
    eval_every: int = 200
    td_encoder: str = "online"
    bfloat16: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.kernels, list):  # JSON and YAML bring them
            object.__setattr__(self, "kernels", tuple(self.kernels))
        check_fields(self, _RANGES)
        # Frames that are shifted by more than half of their size show little; without frames nothing can be shifted.
        check_value("shift", self.shift, int, Range(0, self.image // 2, "[]"))
        if self.image:
            check_value("filters", self.filters, int, Range(1))

    def learning(self) -> Learning:
        """The constants of one update."""
        return Learning(
            discount=self.discount,
            std=self.std,
            tau=self.tau,
            td_encoder=self.td_encoder,
            bfloat16=self.bfloat16,
        )

    def dense_training(self) -> DenseTraining:
        """How a dense controller is trained; the best one is kept, as the last may be worse."""
        return DenseTraining(
            self.dense_steps, steps_per_epoch=self.steps_per_epoch, keep="best", eval_every=self.eval_every
        )

    def exploration(self, updates: int) -> float:
        """Standard deviation of the noise on the policy's actions after that many updates."""
        done = min(updates / self.explore_for, 1.0)
        return self.first_std + done * (self.std - self.first_std)


RECIPES = {
    ("pendulum", "state"): Recipe(),
    ("pendulum", "pixels"): Recipe(
        width=128,
        image=32,
        gray=True,
        stack=3,
        filters=16,
        kernels=(5, 3, 3),
        tau=0.02,
        discount=0.97,
        td_encoder="target",
        dense_steps=6000,
    ),
    ("cartpole-swingup", "state"): Recipe(
        width=128,
        latent_dim=50,
        encoder_width=128,
        action_repeat=8,
        batch_size=128,
        explore_for=4000,
        first_episodes=5,
        steps_per_epoch=125,
        dense_steps=8000,
        eval_every=250,
    ),
    # Two convolutions instead of the paper's four: the pole is a pixel wide, and where it is must not be blurred. It
    # gets better to the end, on some seeds more than on others.
    ("cartpole-swingup", "pixels"): Recipe(
        width=128,
        latent_dim=32,
        image=48,
        gray=True,
        stack=3,
        filters=24,
        kernels=(5, 3),
        shift=2,
        action_repeat=8,
        batch_size=96,
        explore_for=6000,
        first_episodes=5,
        steps_per_epoch=125,
        dense_steps=20_000,
        eval_every=500,
        bfloat16=True,
    ),
}

# Named sizes of the networks: those of the recipe, or the paper's, which bfloat16 makes bearable.
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "small": {"state": {}, "pixels": {}},
    "paper": {
        "state": {"width": 512, "latent_dim": 50, "encoder_width": 256, "bfloat16": True},
        "pixels": {
            "width": 512,
            "latent_dim": 50,
            "image": 84,
            "gray": False,
            "stack": 3,
            "filters": 32,
            "kernels": (7, 5, 3, 3),
            "shift": 4,
            "bfloat16": True,
        },
    },
}

# Plans look as far as the model was trained to, but not at the pendulum's pixels: there, longer ones find what the
# model gets wrong. More proposals of the policy help where it is good.
PLANNERS: dict[tuple[str, str], dict[str, Any]] = {
    ("pendulum", "pixels"): {"horizon": 1, "proposals": 0.25},
    ("cartpole-swingup", "state"): {"proposals": 0.5},
    ("cartpole-swingup", "pixels"): {"proposals": 0.5},
}

# What a pool of controllers varies: sizes around the recipe's, and how long they learn. Half of the pendulum's from the
# state are stopped early, as soon as they can do the task. Sizes held out are none of those in training; only the
# pendulum's from the state, whose controllers come with the package, share a latent size with them.
VARIANTS: dict[tuple[str, str], dict[PoolSplit, tuple[dict[str, Any], ...]]] = {
    ("pendulum", "state"): {
        "train": (
            {"width": 64, "latent_dim": 32, "dense_steps": 2000},  # the default sizes
            {"width": 48, "latent_dim": 16, "dense_steps": 1600},
            {"width": 32, "latent_dim": 24, "dense_steps": 2400},
            {"width": 80, "latent_dim": 24, "dense_steps": 1600},
        ),
        "held_out": (
            {"width": 40, "latent_dim": 20, "dense_steps": 2400},
            {"width": 56, "latent_dim": 28, "dense_steps": 1600},
            {"width": 72, "latent_dim": 16, "dense_steps": 2000},
        ),
    },
    ("pendulum", "pixels"): {
        "train": (
            {"width": 128, "latent_dim": 32, "dense_steps": 6000},  # the recipe's sizes come first
            {"width": 96, "latent_dim": 24, "dense_steps": 5200},
            {"width": 64, "latent_dim": 40, "dense_steps": 6000},
            {"width": 144, "latent_dim": 48, "dense_steps": 5200},
        ),
        "held_out": (
            {"width": 112, "latent_dim": 36, "dense_steps": 6000},
            {"width": 80, "latent_dim": 28, "dense_steps": 5200},
            {"width": 136, "latent_dim": 44, "dense_steps": 5600},
        ),
    },
    ("cartpole-swingup", "state"): {
        "train": (
            {"width": 128, "latent_dim": 50, "dense_steps": 8000},
            {"width": 96, "latent_dim": 32, "dense_steps": 7000},
            {"width": 64, "latent_dim": 40, "dense_steps": 8000},
            {"width": 144, "latent_dim": 24, "dense_steps": 7000},
        ),
        "held_out": (
            {"width": 112, "latent_dim": 44, "dense_steps": 8000},
            {"width": 80, "latent_dim": 36, "dense_steps": 7000},
            {"width": 136, "latent_dim": 28, "dense_steps": 7500},
        ),
    },
    ("cartpole-swingup", "pixels"): {
        "train": (
            {"width": 128, "latent_dim": 32, "dense_steps": 20_000},
            {"width": 96, "latent_dim": 24, "dense_steps": 18_000},
            {"width": 64, "latent_dim": 40, "dense_steps": 20_000},
            {"width": 144, "latent_dim": 48, "dense_steps": 18_000},
        ),
        "held_out": (
            {"width": 112, "latent_dim": 36, "dense_steps": 20_000},
            {"width": 80, "latent_dim": 28, "dense_steps": 18_000},
            {"width": 136, "latent_dim": 44, "dense_steps": 19_000},
        ),
    },
}
