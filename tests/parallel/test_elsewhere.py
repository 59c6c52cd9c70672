"""Jobs in processes that somebody else started: what travels with them, and what is refused."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from prune_env.parallel import WorkerLostError, map_unordered
from prune_env.parallel.elsewhere import Blob, Origin
from prune_env.storage import cache_folder


def read(name, send):
    send(f"reading {name}")
    return (cache_folder() / name).read_text()


def use_cache(folder):
    os.environ["PRUNE_ENV_CACHE"] = folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "here"))
    (tmp_path / "here").mkdir()
    for name in ("a", "b"):
        (tmp_path / "here" / name).write_text(f"content of {name}")
    return tmp_path


def test_files_travel_to_processes_with_another_cache_and_messages_come_back(cache):
    heard = []
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=use_cache, initargs=(str(cache / "there"),)) as executor:
        results = map_unordered(
            read, ["a", "b"], 1, "test", engine=executor, files=lambda name: [cache / "here" / name],
            on_message=lambda item, message: heard.append((item, message)),
        )  # fmt: skip
        assert sorted(results) == ["content of a", "content of b"]
    assert sorted(heard) == [("a", "reading a"), ("b", "reading b")]
    assert sorted(path.name for path in (cache / "there").iterdir()) == ["a", "b"]


def test_an_executor_in_this_process_shares_everything(cache):
    with ThreadPoolExecutor(2) as executor:
        results = map_unordered(
            read, ["a", "b"], 1, "test", engine=executor, files=lambda name: [cache / "here" / name],
            on_message=lambda item, message: None,
        )  # fmt: skip
        assert sorted(results) == ["content of a", "content of b"]


def test_a_file_that_differs_is_replaced(cache):
    blob = Blob.read(cache / "here" / "a")
    (cache / "here" / "a").write_text("damaged")
    blob.unpack()
    assert (cache / "here" / "a").read_text() == "content of a"
    with pytest.raises(ValueError, match="is not in the subpath"):
        Blob.read(cache / "elsewhere")


def test_other_versions_are_refused_by_name():
    ours = Origin()
    ours.check_versions()
    other = Origin(versions=(ours.versions[0], "1.0"))
    with pytest.raises(WorkerLostError, match=r"has torch .*, but the jobs come from torch 1\.0: install the same"):
        other.check_versions()
    assert ours.is_here and not Origin(process=("another machine", 1)).is_here
