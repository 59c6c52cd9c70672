"""Files that other processes and later runs can trust: written atomically, verified when read."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import platformdirs
from filelock import FileLock, Timeout

_CHECKSUM = "checksum"  # its key in a sealed file


class DamagedFileError(ValueError):
    """A file of ours does not hold what was written into it; the message names it and says what to do."""


def cache_folder() -> Path:
    """Where checkpoints are kept: `PRUNE_ENV_CACHE`, or the user's cache folder."""
    return expanded(os.environ.get("PRUNE_ENV_CACHE") or platformdirs.user_cache_path("prune_env"))


def expanded(path: str | Path) -> Path:
    """A path that a user gave, with "~" as the home folder.

    Raises:
        ValueError: If it cannot be a path.
    """
    try:
        return Path(path).expanduser()
    except (RuntimeError, TypeError) as error:  # "~nobody", None
        raise ValueError(f"{path!r} is no path of a file or folder ({error})") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is either there as a whole or not at all.

    Raises:
        OSError: If it cannot be written; the file and a remedy are named, and nothing is left behind.
    """
    scratch = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(scratch, _default_mode())  # noqa: PTH101  # mkstemp makes files that nobody else may read
        Path(scratch).replace(path)
    except BaseException as error:
        if scratch is not None:
            Path(scratch).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(path, error) from error
        raise


def unwritable(path: Path, error: OSError) -> OSError:
    """The error that says which file cannot be written, why, and what to do."""
    made = OSError(
        f"cannot write {path} ({error.strerror or error}): make room or allow writing there, or choose another folder "
        "(PRUNE_ENV_CACHE for the cache, --out or out= for results)"
    )
    made.errno = error.errno
    return made


@contextmanager
def locked(path: Path, timeout: float = -1.0) -> Iterator[None]:
    """Hold the lock that guards a file, in a file of its own beside it.

    Args:
        path: The file.
        timeout: How long to wait for it [s]; without end by default.

    Raises:
        filelock.Timeout: If another process holds it all that time.
        OSError: If the lock cannot be made; the file and a remedy are named.
    """
    lock = FileLock(f"{path}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout)
    except Timeout:
        raise
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield
    finally:
        lock.release()


def _default_mode() -> int:
    """What `open` would have given the file."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, the same for equal values.

    Raises:
        ValueError: If it holds NaN, infinity, or what is no JSON.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{value!r:.200} cannot be written down ({error}): give finite numbers, strings, True, False, None, and "
            "lists or dicts of them"
        ) from error


def config_hash(value: Any) -> str:
    """A short hash of a configuration, 16 hex digits of SHA-256 over its canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object, in its own order, with its checksum as the last entry."""
    content = {name: value for name, value in content.items() if name != _CHECKSUM}
    return {**content, _CHECKSUM: config_hash(json.loads(canonical_json(content)))}


def check_seal(content: Any) -> dict[str, Any]:
    """What was sealed, without the checksum.

    Raises:
        ValueError: If it is no object, carries no checksum, or another one.
    """
    if not isinstance(content, dict) or _CHECKSUM not in content:
        raise ValueError("it carries no checksum: it was changed, or written by an older version")
    rest = {name: value for name, value in content.items() if name != _CHECKSUM}
    if config_hash(rest) != content[_CHECKSUM]:
        raise ValueError("its checksum does not fit: it was changed")
    return rest


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with its checksum, atomically."""
    write_atomically(path, json.dumps(sealed(content), allow_nan=False).encode())


def read_sealed(path: Path, remedy: str) -> dict[str, Any]:
    """What `write_sealed` wrote.

    Args:
        path: Of the file.
        remedy: What to do if it is damaged, for the message.

    Raises:
        DamagedFileError: If it does not hold what was written.
        OSError: If it cannot be read.
    """
    try:
        return check_seal(json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged ({error}); {remedy}") from error


def check_archive(archive: ZipFile, size: int) -> None:
    """Verify a zip that we wrote, member by member, before anything of it is used.

    Args:
        archive: The zip.
        size: Of its file [bytes]. We do not compress, so it cannot hold much more than that: what says so is refused
            before it is unpacked.

    Raises:
        BadZipFile: If it would unpack to more, holds a name twice, or a checksum differs.
    """
    members = archive.infolist()
    if (unpacked := sum(member.file_size for member in members)) > 4 * size + 2**20:
        raise BadZipFile(f"it would unpack to {unpacked:,} bytes from {size:,}")
    if len({member.filename for member in members}) < len(members):
        raise BadZipFile("it holds a name twice")
    try:
        damaged = archive.testzip()
    except (zlib.error, OSError, EOFError, RuntimeError, ValueError, NotImplementedError) as error:
        raise BadZipFile(str(error)) from error
    if damaged is not None:
        raise BadZipFile(f"the checksum of {damaged} differs")
