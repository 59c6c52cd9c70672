"""What made a result: hashes of the code that decides it, and the versions and the processor that it ran with."""

from __future__ import annotations

import ast
import hashlib
import platform
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import torch

_PACKAGE = Path(__file__).parent
_PACKAGES = ("prune_env", "torch", "torch-pruning", "numpy", "scipy", "gymnasium", "stable-baselines3")


@lru_cache
def code_digest(*parts: str) -> str:
    """A hash of source code that changes only if what the code does may have changed.

    Comments, layout and docstrings do not count.

    Args:
        *parts: Files and folders, from where `prune_env` lies, e.g. "prune_env/targets" or "prune_env/training.py".

    Raises:
        FileNotFoundError: If one of them does not exist.
    """
    paths = [_PACKAGE.parent / part for part in parts]
    if missing := [part for part, path in zip(parts, paths, strict=True) if not path.exists()]:
        raise FileNotFoundError(f"no source code at {', '.join(missing)} beside {_PACKAGE}: its digest would be empty")
    files = sorted({file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py"))})
    return hashlib.sha256("\n".join(bare_source(file.read_text()) for file in files).encode()).hexdigest()[:16]


@lru_cache
def made_with() -> dict[str, str]:
    """Versions and processor; other ones may round differently."""
    processor = f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
    return {"Python": platform.python_version(), **{name: version(name) for name in _PACKAGES}, "processor": processor}


def bare_source(source: str) -> str:
    """What source code does: its syntax tree without comments, layout and docstrings.

    Raises:
        SyntaxError: If it is no Python.
    """
    return ast.dump(_without_docstrings(ast.parse(source)))


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]  # type: ignore[attr-defined]
    return tree
