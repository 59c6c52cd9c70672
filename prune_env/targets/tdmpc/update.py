"""One update of TD-MPC (Hansen et al. 2022, arXiv 2203.04955, algorithm 2): model, values, policy, slow copies."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from prune_env.targets.tdmpc.gradients import can_be_written_out, model_gradients, policy_gradients
from prune_env.targets.tdmpc.losses import Batch, Learning, model_loss, policy_loss
from prune_env.targets.tdmpc.networks import ControllerNet, precision

AfterBackward = Callable[[torch.optim.Optimizer], None]


def update(
    net: ControllerNet,
    model_optimizer: torch.optim.Optimizer,
    pi_optimizer: torch.optim.Optimizer,
    batch: Batch,
    noise: Tensor,
    after_backward: AfterBackward,
    learning: Learning,
) -> Tensor:
    """Train the model and values, then the policy, then move the slow copies; returns the model's loss, detached.

    `after_backward` sees each optimizer once, with the gradients as the losses give them, before they are clipped.

    Args:
        net: The controller.
        model_optimizer: Of everything but the policy.
        pi_optimizer: Of the policy.
        batch: What to learn from.
        noise: Standard normal, [2H + 1, B, A]: for the targets' actions, then for the policy's.
        after_backward: Called before each step.
        learning: Constants.
    """
    horizon = len(batch.action)
    learn_model, learn_policy = (
        (model_gradients, policy_gradients)
        if can_be_written_out(net)
        else (_differentiate_model, _differentiate_policy)
    )
    _forget_gradients(model_optimizer)
    with precision(net.device, learning.bfloat16):
        loss, latents = learn_model(net, batch, noise[:horizon], learning)
    _step(model_optimizer, after_backward, learning.clip)

    _forget_gradients(pi_optimizer)
    with precision(net.device, learning.bfloat16):
        learn_policy(net, latents, noise[horizon:], learning)
    _step(pi_optimizer, after_backward, learning.clip)

    if int(net.updates) % learning.tau_every == 0:
        _follow(net, learning.tau)
    net.updates += 1
    return loss


def _differentiate_model(net: ControllerNet, batch: Batch, noise: Tensor, learning: Learning) -> tuple[Tensor, Tensor]:
    """What `model_gradients` does, by autograd: anywhere, and with layers that are watched."""
    loss, latents = model_loss(net, batch, noise, learning)
    parameters = [p for name, p in net.named_parameters() if not name.startswith("pi.")]
    (loss / len(batch.action)).backward(inputs=parameters)
    return loss.detach(), latents


def _differentiate_policy(net: ControllerNet, latents: Tensor, noise: Tensor, learning: Learning) -> None:
    """What `policy_gradients` does, by autograd; the values have no gradient of the policy's loss."""
    policy_loss(net, latents, noise, learning).backward(inputs=list(net.pi.parameters()))


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [p for settings in optimizer.param_groups for p in settings["params"]]


def _forget_gradients(optimizer: torch.optim.Optimizer) -> None:
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


def _follow(net: ControllerNet, tau: float) -> None:
    """Move every slow copy towards its component."""
    with torch.no_grad():
        for name, twin in net.target_networks:
            torch._foreach_lerp_(_tensors(twin), _tensors(net.get_submodule(name)), tau)


def _tensors(module: nn.Module) -> list[Tensor]:
    """What `module.parameters()` yields, without the search for tied ones, of which there are none."""
    return [p for child in module.modules() for p in child._parameters.values() if p is not None]
