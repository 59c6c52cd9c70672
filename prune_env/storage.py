"""Files that other processes and later runs can trust: written atomically, verified when read."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import platformdirs


def cache_folder() -> Path:
    """Where checkpoints are kept: `PRUNE_ENV_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("PRUNE_ENV_CACHE") or platformdirs.user_cache_path("prune_env"))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is either there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(scratch, _default_mode())  # noqa: PTH101  # mkstemp makes files that nobody else may read
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def _default_mode() -> int:
    """What `open` would have given the file."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, the same for equal values; refuses NaN and infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def config_hash(value: Any) -> str:
    """A short hash of a configuration, 16 hex digits of SHA-256 over its canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]
