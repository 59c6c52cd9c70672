"""The networks of the figures, in the full and in the quick setting; all studies of this paper share them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prune_env.studies.core.study import Job
from prune_env.studies.importance_shift.trajectory import trajectory_job


@dataclass(frozen=True)
class Network:
    """A network whose importance is followed.

    Attributes:
        target: Name of a registered target.
        setting: Name in tables and figures.
        size: Latent channels.
        options: Options of the target.
        epochs: Training length, the longest of all figures [epochs].
        shown: Part of it that the figure of all sizes shows [epochs].
    """

    target: str
    setting: str
    size: int
    options: Mapping[str, Any]
    epochs: int
    shown: int

    def job(self, seed: int) -> Job:
        """The job of one seed."""
        return trajectory_job(self.target, self.setting, self.options, seed, self.epochs)


IMAGES = 6144
"""Training images of MNIST in the full setting: 24 steps of 256 in an epoch."""


def autoencoders(quick: bool) -> list[Network]:
    """The latent sizes of the paper on MNIST, or small ones on digits; the last is trained for longest."""
    sizes, data = ((4, 8, 16, 32), "digits") if quick else ((8, 64, 256, 512), "mnist")
    shown, longest = (30, 60) if quick else (110, 200)
    return [
        Network(
            "autoencoder",
            f"latent {size}",
            size,
            {"data": data, "latent_dim": size} | ({} if quick else {"images": IMAGES}),
            longest if size == sizes[-1] else shown,
            shown,
        )
        for size in sizes
    ]


def controllers(quick: bool) -> list[Network]:
    """Pendulum controllers from the state, with several latent sizes, and from pixels; one is trained for longest."""
    sizes = (8, 32) if quick else (8, 32, 128)
    shown, longest = (12, 24) if quick else (110, 200)
    states = [
        Network(
            "tdmpc",
            f"state, latent {size}",
            size,
            {"obs": "state", "latent_dim": size},
            longest if size == 32 else shown,
            shown,
        )
        for size in sizes
    ]
    short = 4 if quick else shown
    return [*states, Network("tdmpc", "pixels, latent 32", 32, {"obs": "pixels"}, short, short)]


def trajectory_jobs(networks: Sequence[Network], seeds: Sequence[int]) -> list[Job]:
    """Every seed of every network, the longest first."""
    return [n.job(seed) for n in sorted(networks, key=lambda n: -n.epochs) for seed in seeds]
