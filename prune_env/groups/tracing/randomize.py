"""Bring a copy of a network to life, so that a mistake must show in its outputs.

A fresh network hides mistakes: biases and running means are zero, scales are one, heads may be zero, and the inputs
that a target traces with are often zeros. So weights and statistics are shaken, signals are kept at unit size through
any depth, and even inputs are replaced by random ones. Noise that the network draws, on the other hand, is held still.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from prune_env.groups.tracing.propagation import Depth, Trace, counted_depth, decomposed, tensors_of

_EVEN = {"zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full"}
_NOISE = {
    *(
        "randn",
        "rand",
        "randn_like",
        "rand_like",
        "normal",
        "normal_",
        "uniform",
        "uniform_",
        "bernoulli",
        "bernoulli_",
    ),
    *("exponential", "exponential_", "cauchy_", "log_normal_", "geometric_", "poisson", "binomial", "_standard_gamma"),
}
_STILL = 0.5


def randomize(model: nn.Module, trace: Trace) -> Callable[[], list[Tensor]]:
    """Shake the weights of `model` in place; returns a function that runs the trace and returns its outputs.

    Where that makes outputs infinite, or a random input is not allowed, weights and inputs are left as they are.
    """
    original = {tensor: tensor.detach().clone() for tensor in _floating(model)}
    for shake, random_inputs in ((True, True), (True, False), (False, False)):

        def run(random_inputs: bool = random_inputs) -> list[Tensor]:
            torch.manual_seed(0)
            with counted_depth(model) as depth, decomposed(), RandomInputs(depth, random_inputs):
                return [tensor.detach().clone() for tensor in tensors_of(trace(model))]

        try:
            with torch.no_grad():
                for tensor, values in original.items():
                    tensor.copy_(_shaken(values) if shake else values)
            if shake:
                with _balanced(model):
                    run()
            if all(bool(t.isfinite().all()) for t in run()):
                return run
        except Exception:  # whatever the network objects to, the next attempt asks less of it
            continue
    return run


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave every global random state as it was."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (a trace may draw from the global one)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


class RandomInputs(TorchDispatchMode):
    """Even tensors that the network's caller makes become random; noise that the network draws becomes constant."""

    def __init__(self, depth: Depth, random_inputs: bool):
        super().__init__()
        self._depth, self._random_inputs = depth, random_inputs
        self._generator = torch.Generator().manual_seed(0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        if isinstance(out, Tensor) and out.is_floating_point():
            if self._depth.value and name in _NOISE:
                out.fill_(_STILL)
            elif not self._depth.value and name in _EVEN and self._random_inputs:
                out.copy_(torch.randn(out.shape, generator=self._generator))
        return out


def _floating(model: nn.Module) -> list[Tensor]:
    return [t for t in [*model.parameters(), *model.buffers()] if t.is_floating_point()]


def _shaken(values: Tensor) -> Tensor:
    """Other values of the same kind: positive ones stay positive."""
    noise = torch.randn(values.shape).to(values)
    if bool((values > 0).all()):
        return values * torch.exp(0.3 * noise)
    size = _size(values)
    return values + noise * (0.3 * size if size > 0 else 0.1)


def _size(values: Tensor) -> Tensor:
    return values.square().mean().sqrt()


@contextmanager
def _balanced(model: nn.Module) -> Iterator[None]:
    """While the context lasts, every layer that runs is rescaled: outputs have unit size, biases a tenth of it.

    Larger biases would drown in every layer a part of what comes from below, and after fifty layers all of it.
    """

    @torch.no_grad()
    def rescale(module: Any, inputs: Any, output: Any) -> Any:
        bias = torch.zeros(()) if module.bias is None else module.bias.clone()
        if module.bias is not None:
            module.bias.zero_()
        # Not the size that the output happens to have: a single number may be near zero, and what rounding made of it
        # would be blown up.
        weight = module.weight.clone()
        module.weight.square_()
        size = module.forward(inputs[0].square(), *inputs[1:]).mean().sqrt()
        module.weight.copy_(weight)
        if size > 0:
            module.weight.div_(size)
        if module.bias is not None:
            module.bias.copy_(bias * (0.1 / _size(bias).clamp(min=1e-9)))
        return module.forward(*inputs)

    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.modules.conv._ConvNd))]
    handles = [
        m.register_forward_hook(rescale) for m in layers if isinstance(m._parameters.get("weight"), nn.Parameter)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
