"""The networks of TD-MPC (Hansen et al. 2022, arXiv 2203.04955): six components that share one latent space.

Letters: B batch, L latent channels, A actions, C image channels, S image size [px], O numbers in an observation.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from prune_env.targets.redundancy import duplicate_units
from prune_env.targets.tdmpc.fused import can_fuse, chain

HEADS = ("dynamics", "reward", "pi", "q1", "q2")
COMPONENTS = ("encoder", *HEADS)
_WITH_TARGET = ("encoder", "q1", "q2")  # components that have a target network
# Largest chunks on the CPU: activations of more images or floats leave its cache, and take up to twice the time.
_IMAGES, _FLOATS = 64, 2**19

TargetNetworks = tuple[tuple[str, nn.Sequential], ...]


class ControllerNet(nn.Module):
    """An encoder, and five networks that read its latent: dynamics, reward, policy and two value functions.

    The target networks of encoder and value functions are no submodules, so that counting, saving and pruning the model
    see one controller.

    Args:
        encoder: From observations to latents [B, L].
        latent_dim: L.
        action_dim: A.
        width: Hidden channels of the other five networks.
        generator: Draws the initial weights.
        widths: Component -> widths of its two hidden layers, where they differ from `width`.
        distinct: Component -> for each of its hidden layers, the share of its units that are no copies of others.

    Attributes:
        action_dim: A.
        updates: Updates of the controller so far, on which exploration depends; a buffer. It stays on the CPU wherever
            the model is moved, so that reading it never waits for a device.
        target_networks: Target networks of encoder, q1 and q2, as (name of the component, module).
    """

    updates: Tensor

    def __init__(
        self,
        encoder: nn.Sequential,
        latent_dim: int,
        action_dim: int,
        width: int,
        generator: torch.Generator,
        widths: Mapping[str, Sequence[int]] | None = None,
        distinct: Mapping[str, Sequence[float]] | None = None,
    ):
        super().__init__()
        hidden = dict.fromkeys(HEADS, (width, width)) | dict(widths or {})
        self.encoder = encoder
        self.dynamics = _mlp(latent_dim + action_dim, hidden["dynamics"], latent_dim)
        self.reward = _mlp(latent_dim + action_dim, hidden["reward"], 1)
        self.pi = _mlp(latent_dim, hidden["pi"], action_dim)
        self.q1 = _value(latent_dim + action_dim, hidden["q1"])
        self.q2 = _value(latent_dim + action_dim, hidden["q2"])
        self.action_dim = action_dim
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._initialise(generator)
        for name, shares in (distinct or {}).items():
            duplicate_units(cast(nn.Sequential, self.get_submodule(name)), shares, generator)
        self.target_networks: TargetNetworks = tuple(
            (name, cast(nn.Sequential, copy.deepcopy(self.get_submodule(name)).requires_grad_(False)))
            for name in _WITH_TARGET
        )

    def _initialise(self, generator: torch.Generator) -> None:
        """Orthogonal weights and zero biases; rewards and values are zero at first."""
        for layer in self.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                gain = nn.init.calculate_gain("relu") if isinstance(layer, nn.Conv2d) else 1.0
                nn.init.orthogonal_(layer.weight, gain, generator=generator)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        for head in (self.reward, self.q1, self.q2):
            nn.init.zeros_(head[-1].get_parameter("weight"))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ControllerNet:
        updates = self.updates
        super()._apply(fn, recurse)
        self.updates = updates
        return self

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return cast(nn.Linear, self.pi[0]).weight.device

    def target_network(self, name: str) -> nn.Sequential:
        """The target network of one component."""
        return dict(self.target_networks)[name]

    def act(self, z: Tensor) -> Tensor:
        """The policy's actions [..., A] in [-1, 1] for latents [..., L]."""
        return torch.tanh(self.pi(z))


def precision(device: torch.device, bfloat16: bool) -> AbstractContextManager[object]:
    """Autocast to bfloat16, or no autocast, whatever the caller has chosen for itself.

    Raises:
        RuntimeError: If bfloat16 is wanted on a device without autocast.
    """
    if not bfloat16 and not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)


def encode(observations: Tensor, *encoders: nn.Sequential) -> list[Tensor]:
    """Latents [B, L] of observations [B, ...] by each of the encoders; images go in chunks on the CPU.

    Encoders of images share their first layer, `Brightness`, which is applied once.
    """
    if observations.dim() == 2:
        return [_fast(encoder, observations) for encoder in encoders]
    chunks = observations.split(_IMAGES if observations.device.type == "cpu" else len(observations))
    latents = [[encoder[1:](floats) for encoder in encoders] for floats in map(encoders[0][0], chunks)]
    return [torch.cat(parts) for parts in zip(*latents, strict=True)]


def apply_chunked(head: nn.Sequential, rows: Tensor) -> Tensor:
    """Output [B, O] of a component other than the encoder; fused where possible, and in chunks on the CPU."""
    return _in_chunks(partial(_fast, head), rows, chunk_rows(head))


def chunk_rows(head: nn.Sequential) -> int:
    """How many rows' activations fit the CPU's cache."""
    return max(1, _FLOATS // head.get_parameter("0.weight").shape[0])


def act(net: ControllerNet, z: Tensor) -> Tensor:
    """What `net.act` returns, computed by `apply_chunked`."""
    return torch.tanh(apply_chunked(net.pi, z))


def _fast(layers: nn.Sequential, rows: Tensor) -> Tensor:
    if torch.is_grad_enabled() or not can_fuse(layers, rows.device):
        return cast(Tensor, layers(rows))
    return chain(layers, rows)


def _in_chunks(run: Callable[[Tensor], Tensor], rows: Tensor, size: int) -> Tensor:
    if len(rows) <= size or rows.device.type != "cpu":
        return run(rows)
    return torch.cat([run(chunk) for chunk in rows.split(size)])


def explore(actions: Tensor, noise: Tensor, std: float) -> Tensor:
    """Actions with Gaussian noise of `std`, clipped at 0.3, clamped to [-1, 1]; gradients pass through the clamp."""
    noisy = actions + (std * noise).clamp_(-0.3, 0.3)
    clamped = noisy.detach().clamp(-1 + 1e-6, 1 - 1e-6)
    return noisy + (clamped - noisy).detach() if noisy.requires_grad else clamped


def state_encoder(observation_dim: int, width: int, latent_dim: int) -> nn.Sequential:
    """An encoder of numbers [B, O] to latents [B, L]."""
    return nn.Sequential(nn.Linear(observation_dim, width), nn.ELU(), nn.Linear(width, latent_dim))


def pixel_encoder(channels: int, size: int, filters: int, kernels: Sequence[int], latent_dim: int) -> nn.Sequential:
    """An encoder of images [B, C, S, S] in 0..255 to latents [B, L], by convolutions of stride 2.

    Raises:
        ValueError: If the images are too small for that many convolutions.
    """
    layers: list[nn.Module] = [Brightness()]
    side = size
    for kernel in kernels:
        if side < kernel:
            raise ValueError(f"images of {size} px are too small for convolutions with kernels {tuple(kernels)}")
        layers += [nn.Conv2d(channels, filters, kernel, stride=2), nn.ReLU()]
        channels, side = filters, (side - kernel) // 2 + 1
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * side * side, latent_dim))


class Brightness(nn.Module):
    """Bytes to floats in [0, 1], channels last in memory, which is the fastest layout for convolutions."""

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, S, S] in float32, or in autocast's type, where every byte is exact."""
        device = images.device.type
        mixed = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if mixed else torch.float32
        return images.to(dtype, memory_format=torch.channels_last, copy=True).div_(255)


def _mlp(fan_in: int, hidden: Sequence[int], fan_out: int) -> nn.Sequential:
    first, second = hidden
    return nn.Sequential(
        nn.Linear(fan_in, first), nn.ELU(), nn.Linear(first, second), nn.ELU(), nn.Linear(second, fan_out)
    )


def _value(fan_in: int, hidden: Sequence[int]) -> nn.Sequential:
    first, second = hidden
    begin: list[nn.Module] = [nn.Linear(fan_in, first), nn.LayerNorm(first), nn.Tanh()]
    return nn.Sequential(*begin, nn.Linear(first, second), nn.ELU(), nn.Linear(second, 1))
