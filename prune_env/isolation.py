"""The state of torch within the package's own work, whatever the caller has set: results do not depend on who calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from prune_env.parallel import one_thread


@contextmanager
def isolated() -> Iterator[None]:
    """One torch thread, gradients on, no inference mode, float32 by default; the caller's state afterwards.

    Also a decorator.
    """
    dtype = torch.get_default_dtype()
    with one_thread(), torch.inference_mode(False), torch.enable_grad():
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
