"""The gradients of one update, written out: what autograd finds for `losses.py`, without its graph, on a processor.

Letters: H horizon [steps], B batch, A actions, L latent channels, N rows, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from prune_env.targets.tdmpc.fused import Tape, chain, chain_backward, fusable
from prune_env.targets.tdmpc.losses import LOSS_LIMIT, Batch, Learning, powers, targets
from prune_env.targets.tdmpc.networks import ControllerNet, encode, explore, rows_at_once

_NOTHING = slice(0)  # no columns


def can_be_written_out(net: ControllerNet) -> bool:
    """Whether this file's functions stand for this controller: on the processor, with unwatched layers."""
    device = net.device
    return all(fusable(component, device) for component in net.children())  # type: ignore[arg-type]


@torch.no_grad()
def model_gradients(net: ControllerNet, batch: Batch, noise: Tensor, learning: Learning) -> tuple[Tensor, Tensor]:
    """Put the gradients of `model_loss` / H where the optimizer looks for them; returns what `model_loss` does."""
    next_z, td_target = targets(net, batch, noise, learning)
    first = _Pixels(net.encoder, batch.first) if batch.first.dim() == 4 else _Passage(net.encoder, batch.first)
    rollout, inputs, steps = [first.outputs], [], []
    for action in batch.action:
        inputs.append(torch.cat([rollout[-1], action], dim=-1))
        steps.append(_Passage(net.dynamics, inputs[-1]))
        rollout.append(steps[-1].outputs)
    latents, heads_input = torch.stack(rollout), torch.cat(inputs)
    heads = [_Passage(head, heads_input) for head in (net.reward, net.q1, net.q2)]

    drift = latents[1:].float() - next_z
    predicted = torch.stack([head.outputs.float() for head in heads]).view(3, *batch.reward.shape)
    error = predicted - torch.stack([batch.reward, td_target, td_target])
    loss, of_drift, of_heads = _loss_and_slopes(drift, error, learning)

    latent = slice(latents.shape[2])
    through = [head.back(slope.view(-1, 1), latent) for head, slope in zip(heads, of_heads, strict=True)]
    through_heads = (through[0] + through[1] + through[2]).view(drift.shape)
    gradient = of_drift[-1]  # of the latents after the last step
    for t in range(len(steps) - 1, -1, -1):
        gradient = steps[t].back(gradient, latent) + through_heads[t]
        if t:
            gradient = gradient + of_drift[t - 1]
    first.back(gradient, _NOTHING)
    return loss, latents


def _loss_and_slopes(drift: Tensor, error: Tensor, learning: Learning) -> tuple[Tensor, Tensor, Tensor]:
    """The model's loss, and the gradients of a H-th of it.

    Args:
        drift: How far the latents are from where they should be, [H, B, L].
        error: Of reward, q1 and q2, [3, H, B, 1].
        learning: Constants.

    Returns:
        The loss, its gradient by drift [H, B, L], and by error [3, H, B, 1].
    """
    horizon, size, width = drift.shape
    rho = powers(learning.rho, horizon, drift)
    consistency = (rho * drift.square().mean(-1, keepdim=True)).sum(0)
    reward, q1, q2 = (rho * error.square()).sum(1)
    terms = torch.stack([consistency, reward, q1 + q2])  # [3, B, 1]
    weights = torch.tensor([learning.consistency, learning.reward, learning.value], device=drift.device).view(3, 1, 1)
    loss = (weights * terms.clamp(max=LOSS_LIMIT)).sum(0).mean()
    slope = (2 / (horizon * size)) * weights * (terms <= LOSS_LIMIT)  # of a squared error
    of_drift = drift * (rho * (slope[0] / width))
    return loss, of_drift, error * rho * slope[[1, 2, 2]].unsqueeze(1)


@torch.no_grad()
def policy_gradients(net: ControllerNet, latents: Tensor, noise: Tensor, learning: Learning) -> None:
    """Put the gradients of `policy_loss` where the policy's optimizer looks for them."""
    steps, size, width = latents.shape
    z = latents.flatten(0, 1)
    pi = _Passage(net.pi, z)
    mean = torch.tanh(pi.outputs)
    za = torch.cat([z, explore(mean, noise.flatten(0, 1), learning.std)], dim=-1)
    q1, q2 = _Passage(net.q1, za), _Passage(net.q2, za)
    # The smaller value takes all of a row's gradient, as torch.minimum has it; equal ones share it.
    slope = -(powers(learning.rho, steps, latents) / size).expand(steps, size, 1).reshape(-1, 1)
    first = slope * (0.5 + 0.5 * (q2.outputs - q1.outputs).sign())
    actions = slice(width, None)
    gradient = q1.back(first, actions, learn=False) + q2.back(slope - first, actions, learn=False)
    pi.back(gradient * (1 - mean.square()), _NOTHING)


class _Passage:
    """Rows [N, ...] on their way through a chain, in pieces that fit a processor's cache, and the way back.

    Attributes:
        outputs: [N, O].
    """

    def __init__(self, layers: nn.Sequential, rows: Tensor):
        self._size = rows_at_once(layers)
        pieces = _pieces(rows, self._size)
        self._tapes: list[Tape] = [[] for _ in pieces]
        self.outputs = _joined([chain(layers, piece, tape) for piece, tape in zip(pieces, self._tapes, strict=True)])

    def back(self, gradient: Tensor, inputs: slice, learn: bool = True) -> Tensor:
        """Gradient of some columns of the rows from that of the outputs."""
        pieces = zip(self._tapes, _pieces(gradient, self._size), strict=True)
        return _joined([chain_backward(tape, piece, inputs, learn) for tape, piece in pieces])


class _Pixels:
    """Images [B, C, S, S] on their way through an encoder, whose way back autograd knows; see `_Passage`."""

    def __init__(self, encoder: nn.Sequential, images: Tensor):
        self._parameters = list(encoder.parameters())
        with torch.enable_grad():
            (self._outputs,) = encode(images, encoder)
        self.outputs = self._outputs.detach()

    def back(self, gradient: Tensor, inputs: slice) -> None:
        """Gradients of the encoder's parameters; none of the images', whatever `inputs` are asked for."""
        self._outputs.backward(gradient.to(self._outputs.dtype), inputs=self._parameters)


def _pieces(rows: Tensor, size: int) -> Sequence[Tensor]:
    return (rows,) if len(rows) <= size else rows.split(size)


def _joined(pieces: list[Tensor]) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)
