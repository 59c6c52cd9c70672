"""One torch thread, and a cache of dense checkpoints that lasts for the session and is shared by its processes."""

import os
import tempfile

import torch


def pytest_configure(config):
    torch.set_num_threads(1)
    os.environ.setdefault("MPLBACKEND", "Agg")
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    if "PRUNE_ENV_CACHE" not in os.environ:  # processes started from here on inherit it
        os.environ["PRUNE_ENV_CACHE"] = tempfile.mkdtemp(prefix="prune-env-tests-")
