"""Chains of layers with their backward pass written out: no graph is built, and ELU takes half of its time.

In small networks a third of an update went to building and walking a graph. Weights are read from the layers at every
call, so they may be cut in between.

Letters: B rows, O outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

# For each layer: its kind, and what its backward pass reads.
Tape = list[tuple[Any, ...]]


def fusable(layers: nn.Sequential, device: torch.device) -> bool:
    """Whether these functions stand for the layers: on the processor, and unless somebody watches the layers."""
    return device.type == "cpu" and not any(
        m._forward_pre_hooks or m._forward_hooks for m in layers._modules.values() if m
    )


def chain(layers: nn.Sequential, rows: Tensor, tape: Tape | None = None) -> Tensor:
    """What these layers make of rows [B, ...]; to be called under `torch.no_grad()`.

    Args:
        layers: Linear, LayerNorm, ELU and Tanh; the first and the last are linear.
        rows: Their input.
        tape: Takes what `chain_backward` needs.

    Raises:
        TypeError: If there is another kind of layer.
    """
    note: tuple[Any, ...]
    if torch.is_autocast_enabled("cpu"):
        rows = rows.to(torch.get_autocast_dtype("cpu"))
    x, rough = rows, rows.dtype == torch.bfloat16
    for layer in cast(Iterable[Any], layers._modules.values()):
        kind, own = type(layer), layer._parameters  # which is quicker than asking for the attributes
        if kind is nn.Linear:
            weight = own["weight"].to(x.dtype)
            note = (kind, layer, x, weight)
            x = torch.addmm(own["bias"], x, weight.t())
        elif kind is nn.LayerNorm:
            before = x
            x, mean, rstd = torch.native_layer_norm(x, layer.normalized_shape, own["weight"], own["bias"], layer.eps)
            note = (kind, layer, before, mean, rstd)
        elif kind is nn.ELU:  # activations overwrite their input, which no backward pass reads
            exact = x.float() if rough else x  # exp(x) - 1 would lose the few digits
            torch.maximum(exact, exact.clamp(max=0).exp_().sub_(1), out=exact)
            x = exact.to(rows.dtype) if rough else x
            note = (kind, layer, x)
        elif kind is nn.Tanh:
            x = x.float().tanh_().to(rows.dtype) if rough else x.tanh_()  # in a third of the time
            note = (kind, layer, x)
        else:
            raise TypeError(f"a chain has no {kind.__name__}: call the layers as they are")
        if tape is not None:
            tape.append(note)
    return x


def chain_backward(tape: Tape, gradient: Tensor, inputs: slice, learn: bool) -> Tensor:
    """Gradient of the `inputs` that are asked for, [B, ...], from that of the chain's outputs [B, O].

    Args:
        tape: As `chain` filled it.
        gradient: Of the outputs; read before this returns.
        inputs: Which columns of the rows need a gradient.
        learn: Whether the layers' parameters get gradients too, added to those that they have.
    """
    g = gradient.to(tape[-1][2].dtype)
    for place in range(len(tape) - 1, -1, -1):
        kind, layer, x, *kept = tape[place]
        if kind is nn.Linear:
            if learn:
                _add_gradient(layer._parameters["bias"], g.sum(0))
                _add_gradient(layer._parameters["weight"], torch.mm(g.t(), x))
            g = torch.mm(g, kept[0] if place else kept[0][:, inputs])
        elif kind is nn.LayerNorm:
            own = layer._parameters
            g, weight, bias = _layer_norm_backward(
                g, x, layer.normalized_shape, *kept, own["weight"], own["bias"], [True, learn, learn]
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
