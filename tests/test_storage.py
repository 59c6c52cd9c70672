"""Files are written as a whole or not at all, and what is read is what was written."""

import errno
import json
import os
from pathlib import Path
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

import pytest

from prune_env.storage import (
    DamagedFileError,
    cache_folder,
    canonical_json,
    check_archive,
    expanded,
    locked,
    read_sealed,
    write_atomically,
    write_sealed,
)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("call", ["tempfile.mkstemp", "os.fsync", "pathlib.Path.mkdir", "pathlib.Path.replace"])
def test_what_cannot_be_written_names_file_and_remedy_and_leaves_nothing(tmp_path, monkeypatch, code, call):
    path = tmp_path / "folder" / "file.json"
    path.parent.mkdir()

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(call, fail)
    with pytest.raises(OSError, match=r"cannot write .*file\.json .*make room or allow writing") as caught:
        write_atomically(path, b"content")
    assert caught.value.errno == code and os.strerror(code) in str(caught.value)
    assert list(path.parent.iterdir()) == []


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for write in (lambda path: write_atomically(path, b""), lambda path: locked(path).__enter__()):
        with pytest.raises(OSError, match=r"cannot write .*file/x\.json"):
            write(tmp_path / "file" / "x.json")


def test_home_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PRUNE_ENV_CACHE", "~/cache")
    assert cache_folder() == tmp_path / "cache" and expanded("~/a") == tmp_path / "a"
    for wrong in (None, 5, "~nobody-of-this-name/x"):
        with pytest.raises(ValueError, match="is no path"):
            expanded(wrong)


@pytest.mark.parametrize("damage", ["flip", "key", "value", "no checksum", "truncated", "list", "empty", "utf-8"])
def test_a_sealed_file_that_was_changed_is_refused(tmp_path, damage):
    path = tmp_path / "file.json"
    content = {"b": {"z": 1, "c": "text"}, "a": [1, 2.5, None]}
    write_sealed(path, content)
    assert list(read_sealed(path, "remedy").items()) == list(content.items())  # in their order
    assert list(read_sealed(path, "remedy")["b"]) == ["z", "c"]
    good, said = path.read_bytes(), json.loads(path.read_bytes())
    changed = {
        "flip": good.replace(b"2.5", b"2.7"),
        "key": good.replace(b'"c"', b'"d"'),
        "value": json.dumps(said | {"a": None}).encode(),
        "no checksum": json.dumps(content).encode(),
        "truncated": good[:-5],
        "list": b"[1]",
        "empty": b"",
        "utf-8": good.replace(b"text", b"te\xff\xff"),
    }[damage]
    path.write_bytes(changed)
    with pytest.raises(DamagedFileError, match=r"file\.json is damaged .*; take this remedy"):
        read_sealed(path, "take this remedy")


def test_json_is_finite_and_plain():
    assert canonical_json({"b": 1, "a": [None]}) == '{"a":[null],"b":1}'
    for wrong in (float("nan"), {1, 2}, Path):
        with pytest.raises(ValueError, match="cannot be written down"):
            canonical_json({"x": wrong})


def test_archives_are_checked_before_they_are_unpacked(tmp_path):
    path = tmp_path / "a.zip"

    def check():
        with ZipFile(path) as archive:
            check_archive(archive, path.stat().st_size)

    with ZipFile(path, "w") as archive:
        archive.writestr("a", b"content" * 100)
    check()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"contentcontent", b"contentcontenT", 1))
    with pytest.raises(BadZipFile, match="checksum of a differs"):
        check()
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="Duplicate"), ZipFile(path, "a") as archive:
        archive.writestr("a", b"other")
    with pytest.raises(BadZipFile, match="twice"):
        check()
    with ZipFile(path, "w", compression=ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(10_000_000))
    with pytest.raises(BadZipFile, match="would unpack to 10,000,000 bytes"):
        check()
