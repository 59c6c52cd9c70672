"""One update of TD-MPC (Hansen et al. 2022, arXiv 2203.04955, algorithm 2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from prune_env.targets.tdmpc.gradients import can_skip_autograd, model_gradients, policy_gradients
from prune_env.targets.tdmpc.losses import Batch, UpdateConfig, model_loss, policy_loss
from prune_env.targets.tdmpc.networks import ControllerNet, precision

AfterBackward = Callable[[torch.optim.Optimizer], None]


def update(
    net: ControllerNet,
    model_optimizer: torch.optim.Optimizer,
    pi_optimizer: torch.optim.Optimizer,
    batch: Batch,
    noise: Tensor,
    after_backward: AfterBackward,
    config: UpdateConfig,
) -> Tensor:
    """Train the model and values, then the policy, then move the target networks.

    Args:
        net: The controller.
        model_optimizer: Optimizer of everything but the policy.
        pi_optimizer: Optimizer of the policy.
        batch: What to learn from.
        noise: Standard normal, [2H + 1, B, A]: for the targets' actions, then for the policy's.
        after_backward: Called once with each optimizer, when its gradients are complete and not yet clipped.
        config: Constants of the update.

    Returns:
        The loss of model and values, a detached scalar.
    """
    horizon, device = len(batch.action), net.device
    model_backward, policy_backward = (
        (model_gradients, policy_gradients) if can_skip_autograd(net) else (_autograd_model, _autograd_policy)
    )
    _zero_grad(model_optimizer)
    with precision(device, config.bfloat16):
        loss, latents = model_backward(net, batch, noise[:horizon], config)
    _step(model_optimizer, after_backward, config.clip)

    _zero_grad(pi_optimizer)
    with precision(device, config.bfloat16):
        policy_backward(net, latents, noise[horizon:], config)
    _step(pi_optimizer, after_backward, config.clip)

    if int(net.updates) % config.tau_every == 0:
        _move_target_networks(net, config.tau)
    net.updates += 1
    return loss


def _autograd_model(net: ControllerNet, batch: Batch, noise: Tensor, config: UpdateConfig) -> tuple[Tensor, Tensor]:
    """What `model_gradients` does, by autograd: on any device, and for layers with hooks."""
    loss, latents = model_loss(net, batch, noise, config)
    parameters = [p for name, p in net.named_parameters() if not name.startswith("pi.")]
    (loss / len(batch.action)).backward(inputs=parameters)
    return loss.detach(), latents


def _autograd_policy(net: ControllerNet, latents: Tensor, noise: Tensor, config: UpdateConfig) -> None:
    """What `policy_gradients` does, by autograd; the policy's loss gives q1 and q2 no gradients."""
    policy_loss(net, latents, noise, config).backward(inputs=list(net.pi.parameters()))


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [p for settings in optimizer.param_groups for p in settings["params"]]


def _zero_grad(optimizer: torch.optim.Optimizer) -> None:
    for p in _parameters(optimizer):
        p.grad = None


def _step(optimizer: torch.optim.Optimizer, after_backward: AfterBackward, clip: float) -> None:
    after_backward(optimizer)
    gradients = [p.grad for p in _parameters(optimizer) if p.grad is not None]
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    # What nn.utils.clip_grad_norm_ does, at half its cost in small networks. Asking whether the norm is too large would
    # wait for any other device than the CPU: there, gradients are multiplied by one if it is not.
    if norm.device.type != "cpu" or norm > clip:
        torch._foreach_mul_(gradients, torch.where(norm > clip, clip / (norm + 1e-6), 1.0))
    optimizer.step()


def _move_target_networks(net: ControllerNet, tau: float) -> None:
    """Move every target network towards its component."""
    with torch.no_grad():
        for name, network in net.target_networks:
            torch._foreach_lerp_(_tensors(network), _tensors(net.get_submodule(name)), tau)


def _tensors(module: nn.Module) -> list[Tensor]:
    """What `module.parameters()` yields, without its search for tied parameters, of which there are none."""
    return [p for child in module.modules() for p in child._parameters.values() if p is not None]
