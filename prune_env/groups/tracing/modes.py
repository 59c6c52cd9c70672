"""Run a trace in evaluation and in training mode, so that branches that only one of them takes are followed too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from prune_env.groups.tracing.propagation import Trace
from prune_env.groups.tracing.replica import replicate


def both_modes(model: nn.Module, trace: Trace) -> Trace:
    """A trace that runs in evaluation mode, and then in training mode as far as the network allows.

    Where training fails with normalisations over the batch (which cannot normalise one sample), these stay in
    evaluation mode. A network that cannot be traced in training at all (it may ask for labels) is only evaluated.

    Args:
        model: Copies of it are run.
        trace: Runs a model that is in evaluation mode or in training mode.
    """
    for freeze in (False, True):
        run = _in_training(trace, freeze)
        try:
            replica, function = replicate(model, run)
            function(replica)
        except Exception:
            continue
        return lambda m: [trace(m.eval()), run(m)]
    return lambda m: trace(m.eval())


def _in_training(trace: Trace, freeze: bool) -> Trace:
    """A trace in training mode, which leaves the model in evaluation mode, its buffers as they were."""

    def run(model: nn.Module) -> Any:
        model.train()
        if freeze:
            for module in model.modules():
                if isinstance(module, nn.modules.batchnorm._NormBase):
                    module.eval()
        try:
            with _copied_buffers(model):
                return trace(model)
        finally:
            model.eval()

    return run


@contextmanager
def _copied_buffers(model: nn.Module) -> Iterator[None]:
    """Training changes copies: a backward pass may still need what evaluation has read."""
    held = [(m._buffers, name, b) for m in model.modules() for name, b in m._buffers.items() if b is not None]
    copies: dict[int, Tensor] = {id(b): b.clone() for _, _, b in held}
    for buffers, name, buffer in held:
        buffers[name] = copies[id(buffer)]
    try:
        yield
    finally:
        for buffers, name, buffer in held:
            buffers[name] = buffer
