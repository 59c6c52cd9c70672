"""Open sets: plain dicts from name to class or function, which users extend; and entries that are named with options.

`cma-es:evaluations=200` names the entry `cma-es` with the option `evaluations=200`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml

Entry = TypeVar("Entry")

REGISTERED_BY: dict[tuple[str, str], str] = {}
"""Kind and name of every entry that is not part of this package -> the module that registered it."""
UNREACHABLE: dict[tuple[str, str], str] = {}
"""In a worker: kind and name of entries that its parent knows -> why the worker does not."""


def find(kind: str, name: str, known: Mapping[str, Entry]) -> Entry:
    """The entry of that name.

    Args:
        kind: What the set holds, in the singular, for the message: "criterion".
        name: Of the entry.
        known: The set.

    Raises:
        ValueError: If there is none; the message lists the known names.
    """
    if not isinstance(name, str) or name not in known:
        raise ValueError(unknown(kind, name, known))
    return known[name]


def unknown(kind: str, name: Any, known: Iterable[str]) -> str:
    """The message for an unknown name: what was meant, perhaps, and what is known."""
    known = list(known)
    close = get_close_matches(str(name), known, n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    lost = UNREACHABLE.get((kind, str(name)))
    reason = f"; the worker does not know it: {lost}" if lost else meant
    return f"unknown {kind} {name!r}{reason} (known: {', '.join(known) or 'none: is the package installed?'})"


def configured(kind: str, text: str, known: Mapping[str, Entry]) -> Entry:
    """The entry named `name`, or `name:option=value,...` with other values of its fields.

    Entries that take options are dataclasses, of which a copy is made.

    Args:
        kind: What the set holds, in the singular, for the message: "criterion".
        text: Name of the entry, and options.
        known: The set.

    Raises:
        ValueError: If there is no such entry, or a value is out of range.
        UnknownOptionError: If the entry has no such option.
    """
    if not isinstance(text, str) or text in known:
        return find(kind, text, known)
    try:
        name, options = split_options(text)
    except ValueError as error:
        raise ValueError(f"{kind}: {error}") from error
    entry: Any = find(kind, name, known)
    names = [field.name for field in fields(entry) if field.init] if is_dataclass(entry) else []
    for option in options:
        if option not in names:
            raise UnknownOptionError.of(f"{kind} {name!r}", option, names)
    return cast(Entry, replace(entry, **options)) if options else cast(Entry, entry)


def add(kind: str, name: str, entry: Entry, known: MutableMapping[str, Entry]) -> None:
    """Put an entry into a set under a new name.

    Raises:
        ValueError: If the name is taken by another entry.
    """
    if known.get(name, entry) is not entry:
        raise ValueError(f"{kind} {name!r} is already registered; choose another name")
    known[name] = entry
    if module := _registering_module():
        REGISTERED_BY[kind, name] = module


def _registering_module() -> str:
    """The module outside this package that asked for a registration; empty while the package itself is imported."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        module = frame.f_globals.get("__name__", "")
        if not module.startswith("prune_env."):
            return "" if module.startswith("importlib.") or module == "prune_env" else module
    return ""


class UnknownOptionError(TypeError, ValueError):
    """An option or keyword that does not exist: a TypeError, as Python raises, and a ValueError, as users catch.

    Attributes:
        name: Of the option; empty where the error was raised again with another message.
        known: Names that there are.
    """

    name: str = ""
    known: tuple[str, ...] = ()

    @classmethod
    def of(cls, owner: str, name: str, known: Iterable[str]) -> UnknownOptionError:
        """The error that says that `owner` has no option of that name."""
        known = tuple(known)
        error = cls(f"{owner}: {unknown('option', name, known)}")
        error.name, error.known = name, known
        return error


def split_options(text: str) -> tuple[str, dict[str, Any]]:
    """`name:key=value,key=value` as the name and its options; values are YAML: numbers, true, [1, 0, 1], words.

    `name:@FILE` reads options from a YAML file, such as `prune-env tune` writes; others may follow and replace them.

    Raises:
        ValueError: If an option is not KEY=VALUE, or is given twice, or a file holds no options.
        OSError: If a file cannot be read.
    """
    name, colon, rest = text.partition(":")
    options: dict[str, Any] = {}
    for option in re.split(r",(?![^\[{]*[\]}])", rest) if colon else []:
        if option.startswith("@"):
            options |= _options_of(option[1:])
            continue
        key, found, value = option.partition("=")
        key = key.strip()
        if not found or not key.isidentifier() or key in options:
            raise ValueError(f"options are written NAME:KEY=VALUE,KEY=VALUE, each key once; got {text!r}")
        options[key] = parse_value(key, value)
    return name, options


def join_options(name: str, options: Mapping[str, Any]) -> str:
    """What `split_options` reads as this name with these options."""
    words = {
        key: value if isinstance(value, str) and parse_value(key, value) == value else json.dumps(value)
        for key, value in options.items()
    }
    return f"{name}:{','.join(f'{key}={word}' for key, word in words.items())}" if options else name


def _options_of(path: str) -> dict[str, Any]:
    """The options in a YAML file."""
    try:
        content = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} holds no options in YAML ({str(error).partition(chr(10))[0]})") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) and key.isidentifier() for key in content):
        raise ValueError(f"{path} holds no options, which are lines KEY: VALUE")
    return content


def parse_value(name: str, text: str) -> Any:
    """The value of an option as in YAML, where 1e-3 is a number, too.

    Raises:
        ValueError: If it is not YAML, or nothing that JSON knows, such as a date.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = str(error).partition("\n")[0]
        raise ValueError(f"the value of {name} is not YAML ({where}): {text!r}; quote what is a word") from error
    if isinstance(value, str) and value == text:
        with suppress(ValueError):
            return float(value) if re.fullmatch(r"[-+.\deE]+", value) else value
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the value of {name} must be numbers, words, true, false, null, or lists and dicts of them; {text!r} is "
            f"{type(value).__name__} {value}; quote what is a word"
        ) from error
    return value
