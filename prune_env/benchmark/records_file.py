"""The records of a run on disk: one JSON line for each policy, network, budget and seed, only ever appended.

Several processes may append to one file. Every line ends with its checksum: one that was changed is refused by its
number; one that was torn by a kill is skipped with a warning, and the next one begins on a line of its own.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from prune_env.benchmark.result import Failure, Key, Result
from prune_env.storage import check_seal, expanded, locked, sealed, unwritable

FILE_NAME = "records.jsonl"

_KINDS: dict[str, type[Result] | type[Failure]] = {"result": Result, "failure": Failure}


def append(path: str | Path, record: Result | Failure) -> None:
    """Append one record to the file, as one whole line, safely beside other processes.

    Raises:
        OSError: The line could not be written whole; the file is as it was before.
    """
    path = expanded(path)
    content = {"kind": "result" if isinstance(record, Result) else "failure", **asdict(record)}
    plain = json.loads(json.dumps(content, allow_nan=False, default=_plain_number))
    line = json.dumps(sealed(plain), allow_nan=False).encode() + b"\n"
    # The lock covers the check of the last byte: without it, the half-written line of another process would seem torn.
    with locked(path):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise unwritable(path, error) from error
        size = os.lseek(descriptor, 0, os.SEEK_END)
        try:
            if _last_byte(descriptor) not in (b"", b"\n"):
                line = b"\n" + line
            written = os.write(descriptor, line)
            if written != len(line):
                raise OSError(f"only {written} of {len(line)} bytes were written: is the disk full?")
        except OSError as error:
            os.ftruncate(descriptor, size)
            raise unwritable(path, error) from error
        finally:
            os.close(descriptor)


def _last_byte(descriptor: int) -> bytes:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    if size == 0:
        return b""
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1)


def _plain_number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} cannot be written to a record")


def read(path: str | Path) -> list[Result | Failure]:
    """Read every whole line, oldest first, repeated identities included.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line is whole but not a record, or was changed; its number is named.
    """
    records = []
    for number, line in enumerate(expanded(path).read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:
            if _ENDS_WHOLE.search(line):
                raise ValueError(f"{place}: the line was changed ({error}); {_REMEDY}") from error
            warnings.warn(f"{place}: skipped a line torn by an interrupted run", stacklevel=2)
            continue
        records.append(_parse(content, place))
    return records


_ENDS_WHOLE = re.compile(rb'"checksum": "[0-9a-f]{16}"\}\s*$')
_REMEDY = "delete the line, and run the same command again, which repeats only what is missing"


def _parse(content: Any, place: str) -> Result | Failure:
    if not isinstance(content, dict) or content.get("kind") not in tuple(_KINDS):
        raise ValueError(f"{place}: expected a record of kind {' or '.join(_KINDS)}; {_REMEDY}")
    if "checksum" not in content and "evaluations" in content:
        raise ValueError(f"{place} was written by version 0.1, whose records differ: benchmark into another folder")
    try:
        content = check_seal(content)
        record = _KINDS[content["kind"]]
        known = {f.name for f in fields(record)}  # a newer version may have written more
        return record(**{name: value for name, value in content.items() if name in known})
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{place}: {error}; {_REMEDY}") from error


def finished_keys(path: str | Path, versions: Mapping[str, str] | None = None) -> set[Key]:
    """Identities that a resumed run need not repeat: those whose latest line is a result. No file, no keys.

    Args:
        path: Of the records.
        versions: Entries that a record's `versions` must have, such as the checksum of a saved policy.
    """
    if not expanded(path).exists():
        return set()
    latest = {record.key: record for record in read(path)}
    wanted = dict(versions or {}).items()
    return {key for key, r in latest.items() if isinstance(r, Result) and wanted <= r.versions.items()}
