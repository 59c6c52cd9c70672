"""Planning by model predictive path integral (MPPI) in the latent space, for many episodes at once.

Algorithm 1 of arXiv 2203.04955: action sequences are drawn from a Gaussian, some more are proposed by the policy, and
the best ones, weighted by their value, define the next Gaussian.

If no sequence has a finite value, because a network's output is not finite, the action is NaN.

Letters: E episodes, N sequences (random ones first, then the policy's), K elites, H horizon [steps], A actions,
L latent channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from prune_env.targets.tdmpc.networks import ControllerNet, act, apply_chunked, explore, precision
from prune_env.targets.transfer import to_device
from prune_env.validation import Range, check_fields

WIDEST = 2.0
"""Standard deviation of the first Gaussian; actions lie in [-1, 1]."""

_RANGES = {
    **dict.fromkeys(("samples", "iterations", "elites", "horizon"), Range(1)),
    **dict.fromkeys(("proposals", "temperature"), Range(0)),
    "momentum": Range(0, 1, "[]"),
    "std": Range(0, WIDEST, "[]"),
    "discount": Range(0, 1, "(]"),
}


class Plan(NamedTuple):
    """The action to take, and the mean from which the next plan starts.

    Attributes:
        action: [E, A], in [-1, 1]; NaN in an episode in which no sequence has a finite value.
        mean: Mean of the last Gaussian, [H, E, A].
    """

    action: Tensor
    mean: Tensor


@dataclass(frozen=True)
class Planner:
    """Constants of planning; the defaults are for small networks, the paper's are 512, 6, 64 and horizon 5.

    Attributes:
        samples: Random sequences per iteration.
        iterations: Refinements of the Gaussian.
        elites: K.
        horizon: H.
        proposals: Sequences of the policy, as a share of `samples`.
        temperature: Inverse temperature of the elites' weights: larger values prefer the best ones.
        momentum: Share of the old mean in the new one.
        std: Least standard deviation of the Gaussian, and that of the policy's noise.
        discount: Discount of rewards, per step.
        bfloat16: Run the networks in bfloat16; faster where they are wide.
        noisy: Add the last Gaussian's noise to the action, for exploration.

    Raises:
        ValueError: If a field is of the wrong type or out of its range.
    """

    samples: int = 64
    iterations: int = 3
    elites: int = 8
    horizon: int = 3
    proposals: float = 0.05
    temperature: float = 0.5
    momentum: float = 0.1
    std: float = 0.05
    discount: float = 0.99
    bfloat16: bool = False
    noisy: bool = False

    def __post_init__(self) -> None:
        check_fields(self, _RANGES)
        if self.elites > self.samples:
            raise ValueError(f"elites ({self.elites}) must not be more than samples ({self.samples})")

    @torch.no_grad()
    def __call__(self, net: ControllerNet, z: Tensor, last: Plan | None, generator: torch.Generator) -> Plan:
        """Plan from latents z [E, L].

        Args:
            net: The controller.
            z: Latents of the current observations.
            last: Plan of the previous step; its mean, shifted by one step, is where this one starts.
            generator: Draws the sequences, on the CPU.
        """
        with precision(z.device, self.bfloat16):
            return self._plan(net, z, last, generator)

    def _plan(self, net: ControllerNet, z: Tensor, last: Plan | None, generator: torch.Generator) -> Plan:
        episodes, actions = len(z), net.action_dim
        proposed = self._proposals(net, z, generator)
        mean = torch.zeros(self.horizon, episodes, actions, device=z.device)
        if last is not None:
            mean[:-1] = last.mean[1:]
        std = torch.full_like(mean, WIDEST)
        count = self.samples + proposed.shape[2]
        start = z.repeat_interleave(count, dim=0)
        for _ in range(self.iterations):
            noise = _normal((self.horizon, episodes, self.samples, actions), z.device, generator)
            drawn = (mean.unsqueeze(2) + std.unsqueeze(2) * noise).clamp(-1, 1)
            sequences = torch.cat([drawn, proposed], dim=2)  # [H, E, N, A]
            value = self._value(net, start, sequences.flatten(1, 2), generator).view(episodes, count)
            best, index = value.topk(self.elites, dim=1)  # [E, K]
            elites = sequences.gather(2, index[None, :, :, None].expand(self.horizon, -1, -1, actions))
            lost = best[:, :1].isneginf()  # there is no value to weight by
            score = torch.softmax((self.temperature * best).masked_fill(lost, 0.0), dim=1)
            weight = score[None, :, :, None]
            center = (weight * elites).sum(2)
            std = (weight * (elites - center.unsqueeze(2)).square()).sum(2).sqrt().clamp(self.std, WIDEST)
            mean = self.momentum * mean + (1 - self.momentum) * center
        # What torch.multinomial does, but its generator would have to be the device's.
        race = torch.empty(score.shape, dtype=score.dtype).exponential_(generator=generator)
        chosen = (score / to_device(race, z.device)).argmax(dim=1, keepdim=True)  # [E, 1]
        action = (
            elites[0].gather(1, chosen.unsqueeze(2).expand(-1, -1, actions)).squeeze(1).masked_fill(lost, torch.nan)
        )
        if self.noisy:
            action = (action + std[0] * _normal(action.shape, z.device, generator)).clamp(-1, 1)
        return Plan(action, mean)

    def _proposals(self, net: ControllerNet, z: Tensor, generator: torch.Generator) -> Tensor:
        """Sequences proposed by the policy with noise, [H, E, proposals, A]."""
        episodes, count = len(z), int(self.proposals * self.samples)
        z = z.repeat_interleave(count, dim=0)
        sequence: list[Tensor] = []
        for t in range(self.horizon):
            if t:
                z = net.dynamics(torch.cat([z, sequence[-1]], dim=1))
            mean = act(net, z)
            sequence.append(explore(mean, _normal(mean.shape, z.device, generator), self.std))
        return torch.stack(sequence).view(self.horizon, episodes, count, mean.shape[1])

    def _value(self, net: ControllerNet, z: Tensor, actions: Tensor, generator: torch.Generator) -> Tensor:
        """Discounted rewards of sequences [H, E * N, A] from latents [E * N, L] plus the final value, [E * N].

        Minus infinity where a network's output is not finite.
        """
        inputs = []
        for action in actions:
            inputs.append(torch.cat([z, action], dim=1))
            z = apply_chunked(net.dynamics, inputs[-1])
        discounts = to_device(torch.tensor([self.discount**t for t in range(self.horizon + 1)]), z.device)
        rewards = apply_chunked(net.reward, torch.cat(inputs)).float().view(self.horizon, -1)
        mean = act(net, z)
        za = torch.cat([z, explore(mean, _normal(mean.shape, z.device, generator), self.std)], dim=1)
        end = torch.minimum(apply_chunked(net.q1, za), apply_chunked(net.q2, za)).float().view(1, -1)
        value = (discounts.unsqueeze(1) * torch.cat([rewards, end])).sum(0)
        return value.where(value.isfinite(), -torch.inf)


def _normal(shape: tuple[int, ...], device: torch.device, generator: torch.Generator) -> Tensor:
    """Drawn on the CPU, so that plans are the same on every device."""
    return to_device(torch.randn(shape, generator=generator), device)
