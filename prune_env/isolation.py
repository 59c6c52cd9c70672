"""The state of torch within the package's own work, whatever the caller has set: results do not depend on who calls."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

from prune_env.parallel import one_thread


@contextmanager
def isolated() -> Iterator[None]:
    """One torch thread, gradients on, no inference mode or autocast, float32 on the CPU by default.

    The global random states of torch, numpy and random are the caller's again afterwards, and so is all else. Also a
    decorator.
    """
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        for context in (one_thread(), own_random_state(), torch.inference_mode(False), torch.enable_grad()):
            stack.enter_context(context)
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


@contextmanager
def own_random_state(seed: int | None = None) -> Iterator[None]:
    """Global random states of torch, numpy and random to use up, and those of before afterwards.

    Code of users may draw from them (dropout does); the package itself never does.

    Args:
        seed: What they start from; by default they go on from where they are.
    """
    devices = torch.cuda.is_initialized()
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    of_devices = torch.cuda.get_rng_state_all() if devices else []
    try:
        if seed is not None:
            torch.default_generator.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            random.seed(seed)
            if devices:
                torch.cuda.manual_seed_all(seed)
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        random.setstate(before[2])
        if of_devices:
            torch.cuda.set_rng_state_all(of_devices)
