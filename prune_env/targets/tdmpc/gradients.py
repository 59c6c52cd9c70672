"""The gradients of one update without autograd, on the CPU; equal to those that autograd finds for `losses.py`.

Letters: H horizon [steps], B batch, A actions, L latent channels, N rows, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from prune_env.targets.tdmpc.fused import Tape, can_fuse, chain, chain_backward
from prune_env.targets.tdmpc.losses import LOSS_LIMIT, Batch, UpdateConfig, powers, targets
from prune_env.targets.tdmpc.networks import ControllerNet, chunk_rows, encode, explore

_NO_COLUMNS = slice(0)


def can_skip_autograd(net: ControllerNet) -> bool:
    """Whether this file's functions may replace autograd: on the CPU, if no layer has a forward hook."""
    device = net.device
    return all(can_fuse(component, device) for component in net.children())  # type: ignore[arg-type]


@torch.no_grad()
def model_gradients(net: ControllerNet, batch: Batch, noise: Tensor, config: UpdateConfig) -> tuple[Tensor, Tensor]:
    """Set `grad` of the parameters to the gradients of `model_loss` / H; returns what `model_loss` returns."""
    next_z, td_target = targets(net, batch, noise, config)
    first = _PixelPass(net.encoder, batch.first) if batch.first.dim() == 4 else _Pass(net.encoder, batch.first)
    rollout, inputs, steps = [first.outputs], [], []
    for action in batch.action:
        inputs.append(torch.cat([rollout[-1], action], dim=-1))
        steps.append(_Pass(net.dynamics, inputs[-1]))
        rollout.append(steps[-1].outputs)
    latents, heads_input = torch.stack(rollout), torch.cat(inputs)
    heads = [_Pass(head, heads_input) for head in (net.reward, net.q1, net.q2)]

    latent_error = latents[1:].float() - next_z
    predicted = torch.stack([head.outputs.float() for head in heads]).view(3, *batch.reward.shape)
    error = predicted - torch.stack([batch.reward, td_target, td_target])
    loss, latent_grad, head_grads = _loss_and_gradients(latent_error, error, config)

    latent = slice(latents.shape[2])
    from_heads = [head.backward(grad.view(-1, 1), latent) for head, grad in zip(heads, head_grads, strict=True)]
    through_heads = (from_heads[0] + from_heads[1] + from_heads[2]).view(latent_error.shape)
    gradient = latent_grad[-1]  # with respect to the latents after the last step
    for t in range(len(steps) - 1, -1, -1):
        gradient = steps[t].backward(gradient, latent) + through_heads[t]
        if t:
            gradient = gradient + latent_grad[t - 1]
    first.backward(gradient, _NO_COLUMNS)
    return loss, latents


def _loss_and_gradients(latent_error: Tensor, error: Tensor, config: UpdateConfig) -> tuple[Tensor, Tensor, Tensor]:
    """The model's loss, and the gradients of loss / H.

    Args:
        latent_error: Predicted latents minus those that they should reach, [H, B, L].
        error: Predictions of reward, q1 and q2 minus their targets, [3, H, B, 1].
        config: Constants of the update.

    Returns:
        The loss, and the gradients of loss / H with respect to `latent_error` and `error`.
    """
    horizon, size, width = latent_error.shape
    rho = powers(config.rho, horizon, latent_error)
    consistency = (rho * latent_error.square().mean(-1, keepdim=True)).sum(0)
    reward, q1, q2 = (rho * error.square()).sum(1)
    terms = torch.stack([consistency, reward, q1 + q2])  # [3, B, 1]
    weights = torch.tensor([config.consistency, config.reward, config.value], device=error.device).view(3, 1, 1)
    loss = (weights * terms.clamp(max=LOSS_LIMIT)).sum(0).mean()
    scale = (2 / (horizon * size)) * weights * (terms <= LOSS_LIMIT)  # d(error^2) = scale * error
    latent_grad = latent_error * (rho * (scale[0] / width))
    return loss, latent_grad, error * rho * scale[[1, 2, 2]].unsqueeze(1)


@torch.no_grad()
def policy_gradients(net: ControllerNet, latents: Tensor, noise: Tensor, config: UpdateConfig) -> None:
    """Set `grad` of the policy's parameters to the gradients of `policy_loss`."""
    steps, size, width = latents.shape
    z = latents.flatten(0, 1)
    pi = _Pass(net.pi, z)
    mean = torch.tanh(pi.outputs)
    za = torch.cat([z, explore(mean, noise.flatten(0, 1), config.std)], dim=-1)
    q1, q2 = _Pass(net.q1, za), _Pass(net.q2, za)
    # As in torch.minimum, the smaller value gets all of a row's gradient, and equal values share it.
    value_grad = -(powers(config.rho, steps, latents) / size).expand(steps, size, 1).reshape(-1, 1)
    q1_grad = value_grad * (0.5 + 0.5 * (q2.outputs - q1.outputs).sign())
    actions = slice(width, None)
    gradient = q1.backward(q1_grad, actions, learn=False) + q2.backward(value_grad - q1_grad, actions, learn=False)
    pi.backward(gradient * (1 - mean.square()), _NO_COLUMNS)


class _Pass:
    """Forward and backward pass of rows [N, features] through a chain, in chunks that fit the CPU's cache.

    Attributes:
        outputs: [N, O].
    """

    def __init__(self, layers: nn.Sequential, rows: Tensor):
        self._size = chunk_rows(layers)
        chunks = _chunks(rows, self._size)
        self._tapes: list[Tape] = [[] for _ in chunks]
        self.outputs = _joined([chain(layers, chunk, tape) for chunk, tape in zip(chunks, self._tapes, strict=True)])

    def backward(self, gradient: Tensor, inputs: slice, learn: bool = True) -> Tensor:
        """Gradient with respect to some columns of the rows, [N, columns]; see `chain_backward`."""
        chunks = zip(self._tapes, _chunks(gradient, self._size), strict=True)
        return _joined([chain_backward(tape, chunk, inputs, learn) for tape, chunk in chunks])


class _PixelPass:
    """Forward and backward pass of images [B, C, S, S] through an encoder, by autograd; see `_Pass`."""

    def __init__(self, encoder: nn.Sequential, images: Tensor):
        self._parameters = list(encoder.parameters())
        with torch.enable_grad():
            (self._outputs,) = encode(images, encoder)
        self.outputs = self._outputs.detach()

    def backward(self, gradient: Tensor, inputs: slice) -> None:
        """Set `grad` of the encoder's parameters; images get no gradient, whatever `inputs` are."""
        self._outputs.backward(gradient.to(self._outputs.dtype), inputs=self._parameters)


def _chunks(rows: Tensor, size: int) -> Sequence[Tensor]:
    return (rows,) if len(rows) <= size else rows.split(size)


def _joined(chunks: list[Tensor]) -> Tensor:
    return chunks[0] if len(chunks) == 1 else torch.cat(chunks)
