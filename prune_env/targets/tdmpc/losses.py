"""The losses of TD-MPC (Hansen et al. 2022, arXiv 2203.04955, algorithm 2), and what they are computed from.

The mathematics is that of the paper, arranged for speed: everything that does not depend on the step before it is
computed for all steps of the horizon at once. A plain version in the tests gives the same numbers.

Letters: H horizon [steps], B batch, A actions, L latent channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from prune_env.targets.tdmpc.networks import ControllerNet, act, encode, explore, many
from prune_env.targets.transfer import to_device

LOSS_LIMIT = 1e4  # no single sample weighs more


class Batch(NamedTuple):
    """Stretches of H steps.

    Attributes:
        first: Observations at their beginning, [B, ...].
        following: Observations after every step, [H, B, ...].
        action: [H, B, A].
        reward: [H, B, 1].
    """

    first: Tensor
    following: Tensor
    action: Tensor
    reward: Tensor


@dataclass(frozen=True)
class Learning:
    """Constants of the update; the defaults are the paper's.

    Attributes:
        discount: Of rewards, per step.
        rho: Weight of a step of the horizon against the one before it.
        consistency: Weight of the latents' loss.
        reward: Weight of the rewards' loss.
        value: Weight of the values' loss.
        std: Of the noise on the policy's actions in targets and losses.
        clip: Largest norm of either gradient.
        tau: How far the slow copies move.
        tau_every: How often they move [updates].
        td_encoder: Whose latents the temporal-difference target reads, "online" (the paper's) or "target": the slow
            encoder's, which are there already. Faster from pixels, and another algorithm.
        bfloat16: Run the networks in bfloat16 (parameters stay float32): faster where they are wide.
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


def model_loss(net: ControllerNet, batch: Batch, noise: Tensor, learning: Learning) -> tuple[Tensor, Tensor]:
    """Loss of latents, rewards and values (a scalar), and the detached latents along the horizon [H + 1, B, L]."""
    horizon = len(batch.action)
    next_z, td_target = targets(net, batch, noise, learning)
    (z,) = encode(batch.first, net.encoder)
    rollout, inputs = [z], []
    for action in batch.action:
        inputs.append(torch.cat([rollout[-1], action], dim=-1))
        rollout.append(many(net.dynamics, inputs[-1]))
    latents, heads_input = torch.stack(rollout), torch.cat(inputs)
    shape = batch.reward.shape
    reward, q1, q2 = (many(head, heads_input).float().view(shape) for head in (net.reward, net.q1, net.q2))

    rho = powers(learning.rho, horizon, z)
    consistency = (latents[1:].float() - next_z).square().mean(-1, keepdim=True)
    value = (q1 - td_target).square() + (q2 - td_target).square()
    terms = (
        (learning.consistency, consistency),
        (learning.reward, (reward - batch.reward).square()),
        (learning.value, value),
    )
    losses = [weight * (rho * term).sum(0).clamp(max=LOSS_LIMIT) for weight, term in terms]
    return (losses[0] + losses[1] + losses[2]).mean(), latents.detach()


@torch.no_grad()
def targets(net: ControllerNet, batch: Batch, noise: Tensor, learning: Learning) -> tuple[Tensor, Tensor]:
    """Latents that the dynamics should reach [H, B, L], and values that q1 and q2 should have [H, B, 1]."""
    horizon, size = batch.action.shape[:2]
    following = batch.following.flatten(0, 1)
    online = learning.td_encoder == "online"
    slow_z, *online_z = encode(following, net.twin("encoder"), *([net.encoder] if online else []))
    z = online_z[0] if online else slow_z
    za = torch.cat([z, explore(act(net, z), noise.flatten(0, 1), learning.std)], dim=-1)
    value = torch.minimum(many(net.twin("q1"), za), many(net.twin("q2"), za)).float()
    td_target = batch.reward + learning.discount * value.view(horizon, size, 1)
    # Autocast would hand out the weights that it converted here, without a gradient, to passes that need one.
    torch.clear_autocast_cache()
    return slow_z.float().view(horizon, size, -1), td_target


def policy_loss(net: ControllerNet, latents: Tensor, noise: Tensor, learning: Learning) -> Tensor:
    """Minus the value of the policy's actions at latents [H + 1, B, L], a scalar."""
    steps, size = latents.shape[:2]
    z = latents.flatten(0, 1)
    za = torch.cat([z, explore(act(net, z), noise.flatten(0, 1), learning.std)], dim=-1)
    value = torch.minimum(many(net.q1, za), many(net.q2, za)).float().view(steps, size, 1)
    return -(powers(learning.rho, steps, latents) * value).sum(0).mean()


def powers(rho: float, count: int, like: Tensor) -> Tensor:
    """1, rho, rho^2, ... [count, 1, 1]."""
    return to_device(torch.tensor([rho**t for t in range(count)]), like.device).view(-1, 1, 1)
