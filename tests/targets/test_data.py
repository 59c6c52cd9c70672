"""Image data: digits, IDX bytes, and MNIST files that are missing, damaged, half downloaded or intact."""

import gzip
import hashlib
import struct
from pathlib import Path

import pooch
import pytest
import torch

from prune_env.targets import data
from prune_env.targets.data import MNIST_FILES, DataError, load_digits, load_mnist, mnist_bytes

NAME = "t10k-labels-idx1-ubyte"


def idx3(images):
    """The IDX bytes of a nest [N][rows][columns] of pixels."""
    count, rows, columns = len(images), len(images[0]), len(images[0][0])
    return struct.pack(">IIII", 0x803, count, rows, columns) + bytes(
        p for image in images for row in image for p in row
    )


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Empty data and cache folders, whose own file is known by its hash, and no way to the internet."""
    monkeypatch.setenv("PRUNE_ENV_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(data.platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    content = b"these are the labels" * 100
    monkeypatch.setitem(data.MNIST_FILES, NAME, hashlib.sha256(content).hexdigest())

    def offline(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", offline)
    return tmp_path / "data" / "mnist", tmp_path / "cache" / "prune_env" / "data" / "mnist", content


@pytest.fixture(scope="module")
def mnist():
    """MNIST as it lies on disk; nothing is downloaded for a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            pooch, "retrieve", lambda *args, **kwargs: pytest.skip("MNIST is not on disk: set PRUNE_ENV_DATA")
        )
        return load_mnist()


def files_in(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def serve(content):
    """What `pooch.retrieve` does when the mirror answers with these bytes."""

    def retrieve(url, *, known_hash, path, fname, progressbar):
        assert url.endswith(f"/{fname}")
        fetched = Path(path) / fname
        fetched.write_bytes(content)
        return str(fetched)

    return retrieve


# ---------------------------------------------------------------------- digits
def test_digits_are_split_into_1197_300_300_and_lie_in_0_1():
    images = load_digits()
    assert [tuple(part.shape) for part in (images.train, images.validation, images.test)] == [
        (1197, 64),
        (300, 64),
        (300, 64),
    ]
    together = torch.cat([images.train, images.validation, images.test])
    assert together.dtype == torch.float32 and images.white == 1.0
    assert together.min() == 0.0 and together.max() == 1.0
    assert torch.equal(together * 16, (together * 16).round())  # 17 shades of grey


def test_every_digit_of_scikit_learn_is_in_exactly_one_split():
    from sklearn.datasets import load_digits as sklearn_digits

    images = load_digits()
    mine = torch.cat([images.train, images.validation, images.test]) * 16
    theirs = torch.tensor(sklearn_digits().data, dtype=torch.float32)
    assert sorted(map(tuple, mine.tolist())) == sorted(map(tuple, theirs.tolist()))


def test_digits_are_the_same_images_in_the_same_order_when_loaded_again():
    first = load_digits()
    load_digits.cache_clear()
    again = load_digits()
    assert again is not first and torch.equal(again.train, first.train) and torch.equal(again.test, first.test)


# ---------------------------------------------------------------------- IDX
def test_idx_bytes_become_flat_images():
    content = idx3([[[0, 1, 2], [3, 4, 5]], [[255, 254, 253], [7, 8, 9]]])
    images = data._read_idx(content)
    assert images.dtype == torch.uint8
    assert images.tolist() == [[0, 1, 2, 3, 4, 5], [255, 254, 253, 7, 8, 9]]


def test_the_last_2000_training_images_are_for_validation(monkeypatch):
    train = idx3([[[i % 251, i // 251]] for i in range(2003)])
    test = idx3([[[1, 2]], [[3, 4]]])
    monkeypatch.setattr(data, "mnist_bytes", lambda name: train if name.startswith("train") else test)
    images = load_mnist.__wrapped__()
    assert images.train.tolist() == [[0, 0], [1, 0], [2, 0]]
    assert len(images.validation) == 2000 and images.validation[0].tolist() == [3, 0]
    assert images.test.tolist() == [[1, 2], [3, 4]] and images.white == 255.0


# ---------------------------------------------------------------------- on disk
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("place", ["data/mnist", "data", "cache"])
def test_a_file_is_found_plain_or_compressed_in_every_folder(folders, tmp_path, place, suffix):
    _, cache, content = folders
    folder = cache if place == "cache" else tmp_path / place
    folder.mkdir(parents=True)
    (folder / f"{NAME}{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    assert mnist_bytes(NAME) == content


def test_the_level_of_compression_does_not_matter(folders):
    inside, _, content = folders
    inside.mkdir(parents=True)
    for level in (1, 9):
        (inside / f"{NAME}.gz").write_bytes(gzip.compress(content, level))
        assert mnist_bytes(NAME) == content


def test_the_folder_that_was_named_goes_before_the_cache(folders):
    inside, cache, content = folders
    for folder, text in ((inside, content), (cache, b"something else")):
        folder.mkdir(parents=True)
        (folder / NAME).write_bytes(text)
    assert mnist_bytes(NAME) == content


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_other_content_is_refused_with_file_hash_and_cure(folders, suffix):
    inside, _, content = folders
    inside.mkdir(parents=True)
    path = inside / f"{NAME}{suffix}"
    other = content + b"!"
    path.write_bytes(gzip.compress(other) if suffix else other)
    with pytest.raises(DataError) as raised:
        mnist_bytes(NAME)
    message = str(raised.value)
    assert message.startswith(f"{path} is damaged")
    assert MNIST_FILES[NAME] in message and hashlib.sha256(other).hexdigest() in message
    assert f"replace it by an intact {NAME}" in message


def truncated(compressed):
    return compressed[:-30]


def flipped(compressed):
    """The same length, with a hole in the compressed stream."""
    return compressed[:20] + b"\xff" * 20 + compressed[40:]


@pytest.mark.parametrize("damage", [truncated, flipped, lambda compressed: b"", lambda compressed: b"<html>404</html>"])
def test_a_damaged_archive_is_refused_with_file_hash_and_cure(folders, damage):
    inside, _, content = folders
    inside.mkdir(parents=True)
    path = inside / f"{NAME}.gz"
    path.write_bytes(damage(gzip.compress(hashlib.sha256(content).digest() * 10 + content)))
    with pytest.raises(DataError) as raised:
        mnist_bytes(NAME)
    message = str(raised.value)
    assert message.startswith(f"{path} is damaged")
    assert MNIST_FILES[NAME] in message
    assert f"replace it by an intact {NAME}" in message


# ---------------------------------------------------------------------- from afar
def test_a_missing_file_without_a_network_says_what_where_and_what_was_tried(folders):
    inside, cache, _ = folders
    with pytest.raises(DataError) as raised:
        mnist_bytes(NAME)
    message = str(raised.value)
    assert NAME in message and MNIST_FILES[NAME] in message
    assert f"into {inside}" in message and "PRUNE_ENV_DATA" in message
    assert all(mirror in message for mirror in data.MNIST_MIRRORS) and "ConnectionError" in message
    assert files_in(cache) == []


def test_a_good_download_is_verified_and_kept(folders, monkeypatch):
    _, cache, content = folders
    monkeypatch.setattr(pooch, "retrieve", serve(gzip.compress(content)))
    assert mnist_bytes(NAME) == content
    assert files_in(cache) == [NAME]
    assert (cache / NAME).read_bytes() == content

    def again(*args, **kwargs):
        raise AssertionError("the cache was not looked at")

    monkeypatch.setattr(pooch, "retrieve", again)
    assert mnist_bytes(NAME) == content


def test_the_second_mirror_is_asked_when_the_first_serves_something_else(folders, monkeypatch):
    _, cache, content = folders
    asked = []

    def retrieve(url, **kwargs):
        asked.append(url)
        return serve(gzip.compress(content if len(asked) == 2 else b"an advertisement"))(url, **kwargs)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert mnist_bytes(NAME) == content
    assert asked == [f"{mirror}{NAME}.gz" for mirror in data.MNIST_MIRRORS]
    assert files_in(cache) == [NAME]


def test_downloads_that_are_all_damaged_are_not_kept(folders, monkeypatch):
    _, cache, content = folders
    monkeypatch.setattr(pooch, "retrieve", serve(truncated(gzip.compress(content))))
    with pytest.raises(DataError, match=r"could not be downloaded.*DataError"):
        mnist_bytes(NAME)
    assert files_in(cache) == []


@pytest.mark.parametrize(
    ("interruption", "raised"), [(ConnectionResetError("by peer"), DataError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_an_interrupted_download_leaves_no_half_file_behind(folders, monkeypatch, interruption, raised):
    _, cache, content = folders

    def retrieve(url, *, path, fname, **kwargs):
        (Path(path) / fname).write_bytes(gzip.compress(content)[:20])
        raise interruption

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(raised):
        mnist_bytes(NAME)
    assert files_in(cache) == []
    monkeypatch.setattr(pooch, "retrieve", serve(gzip.compress(content)))
    assert mnist_bytes(NAME) == content


# ---------------------------------------------------------------------- the real thing
def test_mnist_has_its_60000_and_10000_images(mnist):
    assert [tuple(part.shape) for part in (mnist.train, mnist.validation, mnist.test)] == [
        (58000, 784),
        (2000, 784),
        (10000, 784),
    ]
    assert mnist.train.dtype == torch.uint8 and mnist.white == 255.0
    everything = torch.cat([mnist.train, mnist.validation])
    assert float(everything.double().mean() / 255) == pytest.approx(
        0.1306604, abs=1e-6
    )  # the mean everybody normalises by
    assert everything.max() == 255


def test_all_four_files_have_the_published_hashes(mnist):
    for name in MNIST_FILES:
        assert hashlib.sha256(mnist_bytes(name)).hexdigest() == MNIST_FILES[name]


def test_digits_have_the_labels_that_scikit_learn_gives_them():
    from sklearn.datasets import load_digits as sklearn_digits

    images, theirs = load_digits(), sklearn_digits()
    known = {tuple(row): label for row, label in zip((theirs.data / 16).round(4).tolist(), theirs.target, strict=True)}
    for split in ("train", "validation", "test"):
        rows = getattr(images, split).double().round(decimals=4).tolist()
        assert [known[tuple(row)] for row in rows] == images.labels[split].tolist()


def test_images_of_some_classes_are_those_with_their_labels():
    images = load_digits()
    some = images.of_classes([3, 8])
    assert set(some.labels["test"].tolist()) == {3, 8} and len(some.test) == len(some.labels["test"])
    assert some.train.equal(images.train[(images.labels["train"] == 3) | (images.labels["train"] == 8)])
    few = some.first(20)
    assert few.train.equal(some.train[:20]) and len(few.labels["train"]) == 20 and few.test.equal(some.test)
