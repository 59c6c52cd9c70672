"""The losses of TD-MPC (Hansen et al. 2022, arXiv 2203.04955, algorithm 2).

Everything that does not depend on the previous step is computed for all steps of the horizon at once. A literal version
in the tests gives the same numbers.

Letters: H horizon [steps], B batch, A actions, L latent channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from prune_env.targets.tdmpc.networks import ControllerNet, act, apply_chunked, encode, explore
from prune_env.targets.transfer import to_device

LOSS_LIMIT = 1e4  # largest loss of one sample


class Batch(NamedTuple):
    """Subsequences of episodes, H steps each.

    Attributes:
        first: Observations before the first step, [B, ...].
        following: Observations after every step, [H, B, ...].
        action: [H, B, A].
        reward: [H, B, 1].
    """

    first: Tensor
    following: Tensor
    action: Tensor
    reward: Tensor


@dataclass(frozen=True)
class UpdateConfig:
    """Constants of one update; the defaults are the paper's.

    Attributes:
        discount: Discount of rewards, per step.
        rho: Weight of a step of the horizon relative to the previous one.
        consistency: Weight of the latent consistency loss.
        reward: Weight of the reward loss.
        value: Weight of the value loss.
        std: Standard deviation of the noise on the policy's actions in targets and losses.
        clip: Largest norm of the gradients of each optimizer.
        tau: Share by which target networks move towards their components.
        tau_every: How often they move [updates].
        td_encoder: Encoder of the temporal-difference target: "online" (the paper's) or "target", whose latents are
            needed anyway. Faster from pixels, and another algorithm.
        bfloat16: Run the networks in bfloat16 (parameters stay float32); faster where they are wide.
    """

    discount: float = 0.99
    rho: float = 0.5
    consistency: float = 2.0
    reward: float = 0.5
    value: float = 0.1
    std: float = 0.05
    clip: float = 10.0
    tau: float = 0.01
    tau_every: int = 2
    td_encoder: str = "online"
    bfloat16: bool = False


def model_loss(net: ControllerNet, batch: Batch, noise: Tensor, config: UpdateConfig) -> tuple[Tensor, Tensor]:
    """Model and value loss, a scalar, and the detached latents along the horizon, [H + 1, B, L].

    Args:
        net: The controller.
        batch: What to learn from.
        noise: Standard normal, for the targets' actions, [H, B, A].
        config: Constants of the update.
    """
    horizon = len(batch.action)
    next_z, td_target = targets(net, batch, noise, config)
    (z,) = encode(batch.first, net.encoder)
    rollout, inputs = [z], []
    for action in batch.action:
        inputs.append(torch.cat([rollout[-1], action], dim=-1))
        rollout.append(apply_chunked(net.dynamics, inputs[-1]))
    latents, heads_input = torch.stack(rollout), torch.cat(inputs)
    shape = batch.reward.shape
    reward, q1, q2 = (apply_chunked(head, heads_input).float().view(shape) for head in (net.reward, net.q1, net.q2))

    rho = powers(config.rho, horizon, z)
    consistency = (latents[1:].float() - next_z).square().mean(-1, keepdim=True)
    value = (q1 - td_target).square() + (q2 - td_target).square()
    terms = (
        (config.consistency, consistency),
        (config.reward, (reward - batch.reward).square()),
        (config.value, value),
    )
    losses = [weight * (rho * term).sum(0).clamp(max=LOSS_LIMIT) for weight, term in terms]
    return (losses[0] + losses[1] + losses[2]).mean(), latents.detach()


@torch.no_grad()
def targets(net: ControllerNet, batch: Batch, noise: Tensor, config: UpdateConfig) -> tuple[Tensor, Tensor]:
    """Targets of the latents [H, B, L] and of q1 and q2 [H, B, 1], without gradients; arguments as of `model_loss`."""
    horizon, size = batch.action.shape[:2]
    following = batch.following.flatten(0, 1)
    online = config.td_encoder == "online"
    target_z, *online_z = encode(following, net.target_network("encoder"), *([net.encoder] if online else []))
    z = online_z[0] if online else target_z
    za = torch.cat([z, explore(act(net, z), noise.flatten(0, 1), config.std)], dim=-1)
    value = torch.minimum(
        apply_chunked(net.target_network("q1"), za), apply_chunked(net.target_network("q2"), za)
    ).float()
    td_target = batch.reward + config.discount * value.view(horizon, size, 1)
    # Autocast would hand out the weights that it converted here, without a gradient, to passes that need one.
    torch.clear_autocast_cache()
    return target_z.float().view(horizon, size, -1), td_target


def policy_loss(net: ControllerNet, latents: Tensor, noise: Tensor, config: UpdateConfig) -> Tensor:
    """Negative value of the policy's actions, a scalar.

    Args:
        net: The controller.
        latents: Where the policy acts, [H + 1, B, L].
        noise: Standard normal, for the actions, [H + 1, B, A].
        config: Constants of the update.
    """
    steps, size = latents.shape[:2]
    z = latents.flatten(0, 1)
    za = torch.cat([z, explore(act(net, z), noise.flatten(0, 1), config.std)], dim=-1)
    value = torch.minimum(apply_chunked(net.q1, za), apply_chunked(net.q2, za)).float().view(steps, size, 1)
    return -(powers(config.rho, steps, latents) * value).sum(0).mean()


def powers(rho: float, count: int, like: Tensor) -> Tensor:
    """1, rho, rho^2, ... [count, 1, 1]."""
    return to_device(torch.tensor([rho**t for t in range(count)]), like.device).view(-1, 1, 1)
