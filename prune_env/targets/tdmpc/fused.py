"""Forward and backward passes of chains of layers without autograd, for small networks on the CPU.

Building and walking autograd's graph takes a third of an update of small networks; an ELU in place takes half of its
usual time. Weights are read from the layers at every call, so the layers may be cut in between.

Letters: B rows, O outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

# For each layer: its class, the layer, and what its backward pass reads.
Tape = list[tuple[Any, ...]]


def can_fuse(layers: nn.Sequential, device: torch.device) -> bool:
    """Whether these functions may replace calls of the layers: on the CPU, if no layer has a forward hook."""
    return device.type == "cpu" and not any(
        m._forward_pre_hooks or m._forward_hooks for m in layers._modules.values() if m
    )


def chain(layers: nn.Sequential, rows: Tensor, tape: Tape | None = None) -> Tensor:
    """Output of the layers, [B, O], for inputs `rows`; to be called under `torch.no_grad()`.

    Args:
        layers: Linear, LayerNorm, ELU and Tanh; the first and the last are linear.
        rows: Inputs [B, features].
        tape: Records what `chain_backward` needs.

    Raises:
        TypeError: If there is another kind of layer.
    """
    entry: tuple[Any, ...]
    if torch.is_autocast_enabled("cpu"):
        rows = rows.to(torch.get_autocast_dtype("cpu"))
    x, reduced = rows, rows.dtype == torch.bfloat16
    for layer in cast(Iterable[Any], layers._modules.values()):
        kind, own = type(layer), layer._parameters  # faster than attribute access
        if kind is nn.Linear:
            weight = own["weight"].to(x.dtype)
            entry = (kind, layer, x, weight)
            x = torch.addmm(own["bias"], x, weight.t())
        elif kind is nn.LayerNorm:
            before = x
            x, mean, rstd = torch.native_layer_norm(x, layer.normalized_shape, own["weight"], own["bias"], layer.eps)
            entry = (kind, layer, before, mean, rstd)
        elif kind is nn.ELU:  # activations overwrite their input, which no backward pass reads
            exact = x.float() if reduced else x  # exp(x) - 1 would lose bfloat16's few digits
            torch.maximum(exact, exact.clamp(max=0).exp_().sub_(1), out=exact)
            x = exact.to(rows.dtype) if reduced else x
            entry = (kind, layer, x)
        elif kind is nn.Tanh:
            x = x.float().tanh_().to(rows.dtype) if reduced else x.tanh_()  # in a third of the time of bfloat16's tanh
            entry = (kind, layer, x)
        else:
            raise TypeError(f"a chain cannot hold {kind.__name__}: call the layers instead")
        if tape is not None:
            tape.append(entry)
    return x


def chain_backward(tape: Tape, gradient: Tensor, inputs: slice, learn: bool) -> Tensor:
    """Gradient with respect to some columns of the inputs, [B, columns].

    Args:
        tape: As `chain` recorded it.
        gradient: Gradient with respect to the outputs, [B, O].
        inputs: The columns of the inputs that need a gradient.
        learn: Whether gradients of the parameters are computed too, and added to their `grad`.
    """
    g = gradient.to(tape[-1][2].dtype)
    for i in range(len(tape) - 1, -1, -1):
        kind, layer, x, *saved = tape[i]
        if kind is nn.Linear:
            if learn:
                _add_gradient(layer._parameters["bias"], g.sum(0))
                _add_gradient(layer._parameters["weight"], torch.mm(g.t(), x))
            g = torch.mm(g, saved[0] if i else saved[0][:, inputs])
        elif kind is nn.LayerNorm:
            own = layer._parameters
            g, weight, bias = _layer_norm_backward(
                g, x, layer.normalized_shape, *saved, own["weight"], own["bias"], [True, learn, learn]
            )
            if learn:
                _add_gradient(own["weight"], weight)
                _add_gradient(own["bias"], bias)
        elif kind is nn.ELU:
            _elu_backward(g, 1, 1, 1, True, x, grad_input=g)
        else:
            _tanh_backward(g, x, grad_input=g)
    return g


def _add_gradient(parameter: Tensor, gradient: Tensor) -> None:
    if parameter.grad is None:
        parameter.grad = gradient.to(parameter.dtype)
    else:
        parameter.grad += gradient


_elu_backward = torch.ops.aten.elu_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input
_layer_norm_backward = torch.ops.aten.native_layer_norm_backward.default
