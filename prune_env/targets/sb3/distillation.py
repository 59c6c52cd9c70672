"""What a pruned agent learns from the dense one, and what importance is measured by where nothing is left to learn.

Letters: B batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from prune_env.targets.base import BackwardHook
from prune_env.targets.sb3.networks import AgentNet

_SHARE = 0.05  # of the way that target networks follow in each step


def distillation_loss(net: AgentNet, dense: AgentNet, x: Tensor, values: bool) -> Tensor:
    """Distance of the policy to that of the dense agent, KL(dense || pruned), a scalar (Rusu et al., arXiv 1511.06295).

    Q-values are compared as the softmax over the dense agent's `temperature`, deterministic actions as Gaussians with a
    fixed deviation: the squared distance over twice its square.

    Args:
        net: The pruned agent.
        dense: The dense one.
        x: Preprocessed observations, [B, ...].
        values: Add the squared distance of what the critics say at the dense agent's actions, in units of its variance.
    """
    with torch.no_grad():
        temperature = dense.temperature(x)
        wanted = dense.heads(x, temperature)
    pairs = zip(wanted, net.heads(x, temperature), strict=True)
    loss = torch.stack([one.divergence(other).mean() for one, other in pairs]).sum()  # type: ignore[arg-type]
    if not values:
        return loss
    with torch.no_grad():
        action = dense.critic_action(x)
        judged = dense.values(x, action)
    for one, other in zip(judged, net.values(x, action), strict=True):
        loss = loss + ((other - one) ** 2).mean() / _variance(one)
    return loss


def likelihood_loss(net: AgentNet, x: Tensor, generator: torch.Generator, values: bool) -> Tensor:
    """Minus the mean log-likelihood of actions that the policy itself draws, a scalar.

    At the dense agent the gradient of `distillation_loss` is zero, that of this is not. Its expectation is zero too,
    and that of its square is the diagonal of the policy's Fisher information over B: the second derivatives of the
    divergence there.

    Args:
        net: The agent.
        x: Preprocessed observations, [B, ...].
        generator: Draws the actions.
        values: Add the likelihood of values drawn from Gaussians around what the critics say, with its variance.
    """
    loss = torch.stack([-head.log_prob(head.sample(generator)).mean() for head in net.heads(x)]).sum()
    if not values:
        return loss
    with torch.no_grad():
        action = net.critic_action(x)
    for value in net.values(x, action):
        noise = torch.randn(value.shape, generator=generator).to(value) * _variance(value).sqrt()
        loss = loss + ((value - (value + noise).detach()) ** 2).mean() / (2 * _variance(value))
    return loss


def distillation_step(
    net: AgentNet,
    dense: AgentNet,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    generator: torch.Generator,
    values: bool,
    after_backward: BackwardHook,
) -> Tensor:
    """One update towards the dense agent, whose observers see the gradient of the likelihood.

    What they add to that gradient, such as a regularisation, is added to the step. Target networks follow.

    Args:
        net: The pruned agent, whose parameters `optimizer` holds.
        dense: The dense one.
        optimizer: Takes the step.
        x: Preprocessed observations, [B, ...].
        generator: Draws actions.
        values: As for `distillation_loss`.
        after_backward: Called with the optimizer.

    Returns:
        The distance, a detached scalar.
    """
    parameters = [p for settings in optimizer.param_groups for p in settings["params"]]
    optimizer.zero_grad(set_to_none=True)
    loss = distillation_loss(net, dense, x, values)
    loss.backward()
    wanted = [p.grad for p in parameters]
    optimizer.zero_grad(set_to_none=True)
    likelihood_loss(net, x, generator, values).backward()
    measured = [None if p.grad is None else p.grad.clone() for p in parameters]
    after_backward(optimizer)
    for p, step, likelihood in zip(parameters, wanted, measured, strict=True):
        if p.grad is not None and likelihood is not None and step is not None:
            p.grad.sub_(likelihood).add_(step)
    optimizer.step()
    net.move_target_networks(_SHARE)
    return loss.detach()


def _variance(value: Tensor) -> Tensor:
    """Of values over the batch, and at least that of a tenth of their size, where all states are worth the same."""
    value = value.detach()
    return (value.var(correction=0) + 0.01 * value.square().mean()).clamp(min=1e-6)
