"""Code outside this package that decides what a user's network becomes: known by hashes, and by versions of packages.

Followed from a target: the modules of its classes and of what its attributes hold, and all modules that these import,
as long as they are the user's own. What is installed is known by its version, unless the target itself is part of it.
Code without a file, as in a notebook, is known by its compiled form and by that of what it uses.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

from prune_env.provenance import bare_source

_PACKAGE = __name__.partition(".")[0]
_INSTALLED = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib", "platstdlib")}
_KNOWN_OTHERWISE = {_PACKAGE, "torch", *sys.stdlib_module_names}  # torch's version is part of every identity


def describe_code(things: Iterable[Any]) -> dict[str, Any]:
    """The user's code that things are made of, as JSON that changes when what the code does may have changed.

    Args:
        things: Classes, functions, and instances of classes: a target, what makes it, what it holds.

    Returns:
        "sources": hashes of modules, sorted; "packages": versions of installed packages by name.
    """
    owners = [owner for thing in things for owner in _owners(thing)]
    own = {owner.__module__.partition(".")[0] for owner in owners}
    waiting = [owner.__module__ for owner in owners]
    hashes: set[str] = set()
    packages: dict[str, str] = {}
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        if name in seen or top in _KNOWN_OTHERWISE:
            continue
        seen.add(name)
        file = _file_of(name)
        if file is not None and (top in own or not _is_installed(file)):
            stat = file.stat()
            digest, imports = _read_module(str(file), stat.st_mtime_ns, stat.st_size)
            hashes.add(digest)
            waiting += _resolve(imports, name, file)
        elif file is None and name in sys.modules and top in own:
            hashes |= {_compiled(owner) for owner in owners if owner.__module__ == name}
        elif top not in own and (found := _version(top)):
            packages[top] = found
    return {"sources": sorted(hashes), "packages": packages}


def _owners(thing: Any) -> Iterator[Any]:
    """Classes and functions whose modules say what a thing does."""
    if isinstance(thing, partial):
        for part in (thing.func, *thing.args, *thing.keywords.values()):
            yield from _owners(part)
    elif isinstance(thing, MethodType):
        yield from _owners(thing.__func__)
    elif isinstance(thing, FunctionType):
        yield thing
        for cell in thing.__closure__ or ():
            yield from _owners(cell.cell_contents)
    else:
        kinds = (thing if isinstance(thing, type) else type(thing)).__mro__
        yield from (kind for kind in kinds if kind.__module__.partition(".")[0] not in _KNOWN_OTHERWISE)


def _file_of(name: str) -> Path | None:
    """The source file of a module; None if it has none."""
    module = sys.modules.get(name)
    place = getattr(module, "__file__", None) if module is not None else _spec_origin(name)
    return Path(place) if place and place.endswith(".py") and Path(place).is_file() else None


def _spec_origin(name: str) -> str | None:
    """Where a module that was not imported yet would come from."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    return spec.origin if spec is not None and spec.has_location else None


def _is_installed(file: Path) -> bool:
    return any(folder in file.resolve().parents for folder in _INSTALLED)


@lru_cache(maxsize=512)
def _read_module(path: str, modified: int, size: int) -> tuple[str, tuple[tuple[str, int], ...]]:
    """Hash of a file's code, and the names that it imports with their number of leading dots."""
    del modified, size  # they make the cache follow the file
    source = Path(path).read_text()
    try:
        tree, bare = ast.parse(source), bare_source(source)
    except (SyntaxError, ValueError):
        tree, bare = ast.Module([], []), source
    imports: list[tuple[str, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [(alias.name, 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            imports.append((base, node.level))
            imports += [(f"{base}.{alias.name}".lstrip("."), node.level) for alias in node.names]
    return hashlib.sha256(bare.encode()).hexdigest()[:16], tuple(dict.fromkeys(imports))


def _resolve(imports: Iterable[tuple[str, int]], name: str, file: Path) -> Iterator[str]:
    """Full names of modules from the imports of the module `name`, with the packages that they lie in."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for imported, level in imports:
        parts = package.split(".") if level else []
        full = ".".join([*parts[: len(parts) - level + 1 if level else 0], *([imported] if imported else [])])
        words = full.split(".")
        yield from (".".join(words[: i + 1]) for i in range(len(words)) if words[0])


@lru_cache
def _version(package: str) -> str:
    """Version of an installed package; empty if there is no such package, or it does not say."""
    from importlib.metadata import packages_distributions, version

    names = packages_distributions().get(package, [])
    return ", ".join(f"{name} {version(name)}" for name in sorted(set(names)))


def _compiled(thing: Any) -> str:
    """Hash of the compiled code of a class or function, and of what it refers to in modules without a file."""
    digest, seen, waiting = hashlib.sha256(), set(), [thing]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, (FunctionType, type)):
            if _file_of(part.__module__) is not None or part.__module__.partition(".")[0] in _KNOWN_OTHERWISE:
                continue
            digest.update(part.__qualname__.encode())
        if isinstance(part, type):
            waiting += [value for name, value in sorted(vars(part).items()) if name not in _NO_CODE] + [*part.__bases__]
        elif isinstance(part, (staticmethod, classmethod)):
            waiting.append(part.__func__)
        elif isinstance(part, property):
            waiting += [part.fget, part.fset]
        elif isinstance(part, FunctionType):
            _update(digest, part.__code__)
            waiting += [*(part.__defaults__ or ()), *(part.__kwdefaults__ or {}).values()]
            waiting += [part.__globals__[name] for name in _names(part.__code__) if name in part.__globals__]
        else:
            digest.update(_plain(part).encode())
    return digest.hexdigest()[:16]


_NO_CODE = ("__doc__", "__module__", "__dict__", "__weakref__", "__firstlineno__", "__static_attributes__")


def _plain(value: Any) -> str:
    """A constant as text that is the same in every process; empty for what is none."""
    if isinstance(value, (set, frozenset)):
        return repr(sorted(map(_plain, value)))
    if isinstance(value, (tuple, list)):
        return repr([_plain(item) for item in value])
    if isinstance(value, dict):
        return repr([(_plain(key), _plain(item)) for key, item in value.items()])
    return repr(value) if isinstance(value, (bool, int, float, complex, str, bytes, type(None))) else ""


def _update(digest: Any, code: CodeType) -> None:
    digest.update(code.co_code + repr(code.co_names).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _update(digest, constant)
        else:
            digest.update(_plain(constant).encode())


def _names(code: CodeType) -> list[str]:
    nested = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _names(constant)]
    return [*code.co_names, *nested]
