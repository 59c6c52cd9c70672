"""A chain of layers in one autograd node, its backward pass written out, with faster exponentials.

In small networks a quarter of an update went to ELU and tanh; NumPy's exponentials take less than half of torch's time.
Weights are read from the layers at every call, so they may be cut in between. Layers with hooks are called as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

# For each layer: its kind, and what its backward pass reads.
Kept = list[tuple[Any, ...]]


def chain(layers: nn.Sequential, rows: Tensor, learn: bool = True) -> Tensor:
    """What these layers make of rows [B, ...]; off the processor, and when watched, they are called as they are.

    Args:
        layers: Linear, LayerNorm, ELU and Tanh; the first and the last are linear.
        rows: Their input.
        learn: Whether their parameters get gradients too, and not the rows alone; heeded where they are fused.

    Raises:
        TypeError: If there is another kind of layer.
    """
    device = rows.device.type
    if device != "cpu" or any(m._forward_pre_hooks or m._forward_hooks for m in layers._modules.values() if m):
        return cast(Tensor, layers(rows))
    if torch.is_autocast_enabled(device):
        rows = rows.to(torch.get_autocast_dtype(device))  # the weights are cast where they are used
    if not torch.is_grad_enabled():
        return _forward(layers, rows, None)
    parameters = [p for layer in layers._modules.values() for p in layer._parameters.values()] if learn else []
    return cast(Tensor, _Chain.apply(layers, rows, *parameters))


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layers: nn.Sequential, rows: Tensor, *parameters: Tensor) -> Tensor:
        ctx.kept = []
        return _forward(layers, rows, ctx.kept)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        _, rows, *learn = ctx.needs_input_grad
        return (None, *_backward(ctx.kept, gradient, rows, bool(learn)))


def _forward(layers: nn.Sequential, x: Tensor, kept: Kept | None) -> Tensor:
    """Activations overwrite their input, which no backward pass reads."""
    note: tuple[Any, ...]
    for layer in cast(Iterable[Any], layers._modules.values()):
        kind, own = type(layer), layer._parameters  # which is quicker than asking for the attributes
        if kind is nn.Linear:
            note = (kind, x, own["weight"])
            x = torch.addmm(own["bias"], x, own["weight"].t())
        elif kind is nn.LayerNorm:
            before = x
            x, mean, rstd = torch.native_layer_norm(x, layer.normalized_shape, own["weight"], own["bias"], layer.eps)
            note = (kind, before, layer, mean, rstd)
        elif kind is nn.ELU:
            exact = _exact(x)
            _elu_(exact.numpy())
            x.copy_(exact)
            note = (kind, x)
        elif kind is nn.Tanh:
            exact = _exact(x)
            np.tanh(exact.numpy(), out=exact.numpy())
            x.copy_(exact)
            note = (kind, x)
        else:
            raise TypeError(f"a chain has no {kind.__name__}: call the layers as they are")
        if kept is not None:
            kept.append(note)
    return x


def _exact(x: Tensor) -> Tensor:
    """In a type that NumPy knows: itself unless it is bfloat16."""
    return x.float() if x.dtype == torch.bfloat16 else x


def _elu_(x: np.ndarray) -> None:
    """max(x, exp(min(x, 0)) - 1), in place."""
    negative = np.minimum(x, 0)
    np.exp(negative, out=negative)
    negative -= 1
    np.maximum(x, negative, out=x)


def _backward(kept: Kept, g: Tensor, rows: bool, learn: bool) -> tuple[Tensor | None, ...]:
    """Gradients of the rows and, in their order, of the layers' parameters, if they `learn`."""
    gradients: list[Tensor] = []  # last layer first
    for place in range(len(kept) - 1, -1, -1):
        kind, *note = kept[place]
        if kind is nn.Linear:
            x, weight = note
            if learn:
                gradients += (g.sum(0).to(weight.dtype), torch.mm(g.t(), x).to(weight.dtype))
            if place or rows:
                g = torch.mm(g, weight.to(g.dtype))
        elif kind is nn.LayerNorm:
            x, layer, mean, rstd = note
            g, weight, bias = _layer_norm_backward(
                g, x, layer.normalized_shape, mean, rstd, layer.weight, layer.bias, [True, learn, learn]
            )
            if learn:
                gradients += (bias, weight)
        elif kind is nn.ELU:
            g = _elu_backward(g, 1, 1, 1, True, note[0])
        else:
            g = _tanh_backward(g, note[0])
    return (g if rows else None, *reversed(gradients))


_elu_backward = torch.ops.aten.elu_backward.default
_tanh_backward = torch.ops.aten.tanh_backward.default
_layer_norm_backward = torch.ops.aten.native_layer_norm_backward.default
