"""Randomise a copy of a network, so that a mistake must show in its outputs, and run it the same way again and again.

A fresh network hides mistakes: biases and running means are zero, scales are one, heads may be zero, and the inputs
that a target traces with are often zeros. So weights and statistics are perturbed, signals are kept at unit size
through any depth, and constant inputs are replaced by random ones. Noise that the network draws is replaced by its
mean. All is computed in double precision where the network allows that, so that rounding stays far below any mistake.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from prune_env.groups.tracing.depth import Depth, counted_depth
from prune_env.groups.tracing.propagation import Trace, decomposed, named_tensors, tensors_of

_CONSTANT = {"zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full"}
_UNSET = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided"}
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
_DRAWN = {"multinomial", "randint", "randint_like", "randperm", "random_"}
_SPECIAL = _CONSTANT | _UNSET | _NOISE | _DRAWN
_MEAN = 0.5
_LOW = {torch.float32, torch.float16, torch.bfloat16}

Observer = Callable[[Depth], AbstractContextManager[Any]]


class Runner:
    """Runs one trace of one model the same way every time; buffers that a run changes are put back.

    Attributes:
        model: The model; it may be cut between two runs.
        precise: Whether it computes in double precision.
    """

    def __init__(self, model: nn.Module, trace: Trace, random_inputs: bool, precise: bool, seed: int = 0):
        self.model, self.precise = model, precise
        self._trace, self._random_inputs, self._seed = trace, random_inputs, seed

    def __call__(self, operators: RandomInputs | None = None, observer: Observer | None = None) -> list[Tensor]:
        """The tensors that the trace returns.

        Args:
            operators: What runs every operator.
            observer: Makes a context for the run.
        """
        operators = operators or RandomInputs()
        buffers = [(b, b.detach().clone()) for b in self.model.buffers()]
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002 (a trace may draw from the global one)
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")  # the user's own run has shown them
            depth = stack.enter_context(counted_depth(self.model))
            stack.enter_context(decomposed())
            if self.precise:
                stack.enter_context(DoublePrecision())
            operators.begin(depth, self._random_inputs, self._seed)
            stack.enter_context(operators)
            if observer is not None:
                stack.enter_context(observer(depth))
            outputs = tensors_of(self._trace(self.model))
        for buffer, values in buffers:
            buffer.data.copy_(values)  # past autograd, which may still need it for a backward pass
        return outputs


def randomize(model: nn.Module, trace: Trace, seed: int = 0) -> Runner:
    """Perturb the weights of `model` in place, in double precision; returns what runs it.

    `seed` chooses the weights and the inputs.

    Where that fails, or makes other outputs infinite than before, the next attempt asks less of the network: its own
    precision, the caller's inputs, its own weights.
    """
    original = [(t, t.dtype, t.detach().clone()) for t in _floating(model)]
    finite = _finite(Runner(model, trace, random_inputs=False, precise=False))
    runner = Runner(model, trace, random_inputs=False, precise=False)
    for precise, perturb, random_inputs in (
        (True, True, True),
        (False, True, True),
        (True, True, False),
        (False, True, False),
        (True, False, False),
        (False, False, False),
    ):
        runner = Runner(model, trace, random_inputs, precise, seed)
        try:
            torch.manual_seed(seed)
            with torch.no_grad():
                for tensor, dtype, values in original:
                    tensor.data = values.to(torch.float64 if precise and dtype in _LOW else dtype)
                    tensor.copy_(_perturbed(values) if perturb else values)
            if perturb:
                with _balanced(model):
                    runner()
            now = _finite(runner)
            if len(now) == len(finite) and all(torch.equal(x, y) for x, y in zip(now, finite, strict=True)):
                break
        except Exception:
            continue
    return runner


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
    """Constant tensors that the network's caller makes become random; noise that the network draws becomes constant."""

    def begin(self, depth: Depth, random_inputs: bool, seed: int) -> None:
        """Start anew.

        Args:
            depth: Tells what the caller does from what the network does.
            random_inputs: Whether constant tensors that the caller makes become random.
            seed: Chooses their values.
        """
        self._depth, self._random_inputs = depth, random_inputs
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():
            return self.run(func, args, kwargs or {})

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run one operator."""
        return self.execute(func, args, kwargs)

    def execute(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run one operator, with random inputs and constant noise."""
        name = func._schema.name.removeprefix("aten::")
        if name not in _SPECIAL:
            return func(*args, **kwargs)
        inside = self._depth.inside
        if inside and name in _DRAWN:
            torch.manual_seed(0)  # draws before this one may have had another shape
        out = func(*args, **kwargs)
        if inside and name in _NOISE:
            if isinstance(out, Tensor) and out.is_floating_point():
                out.fill_(_MEAN)
        elif inside and name in _UNSET and not out.is_quantized:
            out.zero_()  # whatever lies in memory would differ from run to run
        elif not inside and name in _CONSTANT and self._random_inputs and out.is_floating_point():
            out.copy_(torch.randn(out.shape, generator=self._generator))
        return out


class DoublePrecision(TorchFunctionMode):
    """Floating-point tensors of lower precision become double where they are made or used."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in {"__get__", "__set__"} or name.endswith("_"):  # attributes, and what works in place
            return func(*args, **kwargs)
        if name in {"float", "half", "bfloat16"}:
            return args[0].double()
        if any(_may_be_low(x) for x in args) or any(_may_be_low(x) for x in kwargs.values()):
            args, kwargs = tree_map(_double, (args, kwargs))
        out = func(*args, **kwargs)
        return tree_map(_double, out) if _may_be_low(out) else out


def _may_be_low(x: Any) -> bool:
    if isinstance(x, (Tensor, torch.dtype)):
        return (x if isinstance(x, torch.dtype) else x.dtype) in _LOW
    return isinstance(x, (tuple, list, dict))


def _double(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.double() if x.dtype in _LOW else x
    return torch.float64 if isinstance(x, torch.dtype) and x in _LOW else x


def _floating(model: nn.Module) -> list[Tensor]:
    return [t for _, t in named_tensors(model) if t.is_floating_point()]


def _finite(runner: Runner) -> list[Tensor]:
    return [t.isfinite() for t in runner()]


def _perturbed(values: Tensor) -> Tensor:
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
