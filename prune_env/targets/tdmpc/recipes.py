"""Sizes and training constants that work, one recipe for each task and kind of observation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from prune_env.open_sets import find
from prune_env.targets.base import DenseTraining, PoolSplit
from prune_env.targets.tdmpc.losses import UpdateConfig
from prune_env.targets.tdmpc.networks import HEADS
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
    """Everything that decides what a trained controller is like; the defaults are for Pendulum from its state.

    Attributes:
        width: Hidden channels of dynamics, reward, policy and values.
        latent_dim: Latent channels.
        encoder_width: Hidden channels of the encoder of states.
        image: Size of frames [px].
        gray: Frames of one channel instead of three colors.
        stack: Frames in an observation.
        filters: Filters of every convolution.
        kernels: Sizes of the convolutions' kernels, of stride 2 [px].
        shift: Largest random shift of observations in training [px]; the paper's is a 21st of the image.
        action_repeat: Simulator steps in a step of control.
        horizon: Steps of the latent rollout, in training and planning.
        batch_size: Subsequences in an update.
        learning_rate: Learning rate of both optimizers.
        discount: Discount of rewards, per step of control.
        tau: Share by which target networks move towards their components, every second update.
        std: Final standard deviation of exploration noise, and that of the noise in targets and losses.
        first_std: Initial standard deviation of exploration noise.
        explore_for: Length of the linear schedule from `first_std` to `std` [updates].
        first_episodes: Episodes at the start: of random actions, or of the controller itself if it is trained.
        episodes_per_epoch: New episodes in an epoch.
        steps_per_epoch: Updates in an epoch.
        replay_episodes: Episodes that the replay holds.
        dense_steps: Updates of dense training.
        eval_every: Updates between two evaluations in dense training, the best of which is kept.
        td_encoder: See `UpdateConfig`.
        bfloat16: See `UpdateConfig`.
        widths: Component -> widths of its two hidden layers, where they differ from `width`.
        distinct: Component -> for each of its hidden layers, the share of its units that are distinct at the start of
            training; the others are copies. Components that are not named have distinct units only.

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
    widths: Mapping[str, Sequence[int]] = field(default_factory=dict)
    distinct: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.kernels, list):  # JSON and YAML bring them
            object.__setattr__(self, "kernels", tuple(self.kernels))
        check_fields(self, _RANGES)
        # Frames that are shifted by more than half of their size show little; states cannot be shifted.
        check_value("shift", self.shift, int, Range(0, self.image // 2, "[]"))
        if self.image:
            check_value("filters", self.filters, int, Range(1))
        _check_layers("widths", self.widths, dict.fromkeys(HEADS, 2), int, Range(1))
        layers = dict.fromkeys(HEADS, 2) if self.image else {"encoder": 1, **dict.fromkeys(HEADS, 2)}
        _check_layers("distinct", self.distinct, layers, float, Range(0, 1, "(]"))

    def settings(self) -> dict[str, Any]:
        """All fields; those that came later are left out where they are empty, as in older networks."""
        return {k: v for k, v in asdict(self).items() if k not in ("widths", "distinct") or v}

    def update_config(self) -> UpdateConfig:
        """Constants of one update."""
        return UpdateConfig(
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
        """Standard deviation of exploration noise after that many updates."""
        done = min(updates / self.explore_for, 1.0)
        return self.first_std + done * (self.std - self.first_std)


def _check_layers(name: str, given: Any, layers: Mapping[str, int], kind: type, allowed: Range) -> None:
    """Whether numbers of hidden layers are given by component, as many as there are layers."""
    if not isinstance(given, Mapping):
        raise ValueError(f"{name} must be a dict from components to numbers, got {given!r}")
    for component, values in given.items():
        count = find(f"component in {name}", component, layers)
        if not isinstance(values, Sequence) or len(values) != count:
            raise ValueError(f"{name}[{component!r}] must have {count} numbers, one a hidden layer; got {values!r}")
        for i, value in enumerate(values):
            check_value(f"{name}[{component!r}][{i}]", value, kind, allowed)


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
    # Two convolutions instead of the paper's four: the pole is a pixel wide, and its position must not be blurred.
    # The return rises to the end of training, by an amount that depends on the seed.
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

# Named sizes of the networks: those of the recipe, or the paper's, in bfloat16 for speed. From pixels, training has the
# official batch, learning rate and horizon, as the controller that ships had. Batches of 128 learn far slower.
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
            "horizon": 5,
            "batch_size": 256,
            "learning_rate": 3e-4,
            "explore_for": 10_000,
            "replay_episodes": 700,
            "dense_steps": 13_500,
            "eval_every": 1500,
            "bfloat16": True,
        },
    },
}

# Plans are as long as the training horizon, except for the pendulum from pixels, where longer plans exploit errors of
# the model. More proposals of the policy help where it is good.
PLANNERS: dict[tuple[str, str], dict[str, Any]] = {
    ("pendulum", "pixels"): {"horizon": 1, "proposals": 0.25},
    ("cartpole-swingup", "state"): {"proposals": 0.5},
    ("cartpole-swingup", "pixels"): {"proposals": 0.5},
}

# What a pool of controllers varies: sizes around the recipe's, and the length of training. Half of the pendulum's from
# the state stop early, as soon as they solve the task. Held-out sizes do not occur in training, but those of the
# pendulum from the state, which ship with the package, share a latent size with it.
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
