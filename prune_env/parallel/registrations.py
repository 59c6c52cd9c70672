"""What users register in open sets is found by workers, which import the modules that register it."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from prune_env.open_sets import REGISTERED_BY, UNREACHABLE
from prune_env.storage import cache_folder, write_atomically

_SCRIPT = "the_main_script"


@dataclass(frozen=True)
class Registration:
    """An entry of an open set that is not part of this package.

    Attributes:
        kind: What the set holds, e.g. "policy".
        name: Of the entry.
        module: Which module registered it.
        source: Source code of that module if it is the parent's main script, which nobody can import by name.
    """

    kind: str
    name: str
    module: str
    source: str = field(default="", repr=False)


def registrations() -> tuple[Registration, ...]:
    """All that this process has registered."""
    return tuple(
        Registration(kind, name, *(_main() if module == "__main__" else (module, "")))
        for (kind, name), module in REGISTERED_BY.items()
    )


def _main() -> tuple[str, str]:
    """Name and source of the main module: a script has no name, a module run with `python -m` needs no source."""
    main = sys.modules["__main__"]
    if main.__spec__ is not None:
        return main.__spec__.name, ""
    path = Path(getattr(main, "__file__", None) or "")
    return _SCRIPT, path.read_text() if path.is_file() else ""


def import_registrations(wanted: tuple[Registration, ...]) -> None:
    """Register here what the parent has registered, by importing its modules.

    What cannot be had is noted in `UNREACHABLE`: an unknown name says then why it is unknown.
    """
    for one in wanted:
        key = one.kind, one.name
        if key in REGISTERED_BY:
            continue
        reason = _import(one.module, one.source)
        if key not in REGISTERED_BY:
            UNREACHABLE[key] = reason or f"importing {one.module} does not register it: register at module level"


@lru_cache
def _import(module: str, source: str) -> str:
    """Import a module; returns why that is impossible, or nothing."""
    try:
        if source:
            _import_script(source)
        elif module != _SCRIPT:
            import_module(module)
        else:
            return "it was registered in an interactive session: put it into a module"
    except Exception as error:
        return f"{module} cannot be imported here ({type(error).__name__}: {error}): install it where workers run"
    return ""


def _import_script(source: str) -> None:
    """Import a script from its source, from a file, so that the code of its classes can be read."""
    name = f"{_SCRIPT}_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    path = cache_folder() / "scripts" / f"{name}.py"
    write_atomically(path, source.encode())
    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    sys.modules[name] = script = module_from_spec(spec)
    spec.loader.exec_module(script)
