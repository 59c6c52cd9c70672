"""Image data in memory: scikit-learn's 8x8 digits, and MNIST from its four IDX files, verified."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import platformdirs
import torch
from torch import Tensor

from prune_env.storage import expanded

# SHA-256 of the uncompressed files, whatever compression they arrive in.
MNIST_FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


_LARGEST_FILE = 47_040_016  # the uncompressed training images [bytes]


class DataError(RuntimeError):
    """A data file is missing or damaged; the message names the file, what was expected and where to put it."""


@dataclass(frozen=True)
class Images:
    """Flattened grey images as uint8 or float, [N, pixels], with the value that means white.

    Attributes:
        train: Images to train on.
        validation: Images that policies and tuning may see.
        test: Images that are touched once, at report time.
        white: Value of a white pixel; pixels are divided by it.
        labels: Split -> class of each of its images, int64 [N].
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    white: float
    labels: Mapping[str, Tensor] = field(default_factory=dict)

    def of_classes(self, classes: Sequence[int]) -> Images:
        """The images of these classes only."""
        wanted = torch.tensor(list(classes))
        kept = {split: torch.isin(labels, wanted) for split, labels in self.labels.items()}
        labels = {split: self.labels[split][keep] for split, keep in kept.items()}
        return Images(
            self.train[kept["train"]], self.validation[kept["validation"]], self.test[kept["test"]], self.white, labels
        )

    def first(self, count: int) -> Images:
        """The first `count` training images, with validation and test as they are."""
        labels = {**self.labels, "train": self.labels["train"][:count]}
        return replace(self, train=self.train[:count], labels=labels)


def data_folder() -> Path:
    """Where data files are kept: `PRUNE_ENV_DATA`, or the user's cache folder."""
    return expanded(os.environ.get("PRUNE_ENV_DATA") or platformdirs.user_cache_path("prune_env") / "data")


@lru_cache(maxsize=1)
def load_digits() -> Images:
    """The 1,797 handwritten 8x8 digits that scikit-learn ships; 1,197 train, 300 validation, 300 test."""
    from sklearn.datasets import load_digits as sklearn_digits

    digits = sklearn_digits()
    pixels, classes = torch.tensor(digits.data, dtype=torch.float32) / 16.0, torch.tensor(digits.target)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    pixels, classes = pixels[order], classes[order]
    labels = {"train": classes[600:], "validation": classes[:300], "test": classes[300:600]}
    return Images(train=pixels[600:], validation=pixels[:300], test=pixels[300:600], white=1.0, labels=labels)


@lru_cache(maxsize=1)
def load_mnist() -> Images:
    """MNIST 28x28; the last 2,000 training images are the validation split, 58,000 remain for training.

    Raises:
        DataError: If a file is damaged, or missing and not to be downloaded.
    """
    train = _read_idx(mnist_bytes("train-images-idx3-ubyte"))
    test = _read_idx(mnist_bytes("t10k-images-idx3-ubyte"))
    classes = _read_idx(mnist_bytes("train-labels-idx1-ubyte")).long()
    labels = {"train": classes[:-2000], "validation": classes[-2000:]}
    labels["test"] = _read_idx(mnist_bytes("t10k-labels-idx1-ubyte")).long()
    return Images(train=train[:-2000], validation=train[-2000:], test=test, white=255.0, labels=labels)


LOADERS: dict[str, Callable[[], Images]] = {"digits": load_digits, "mnist": load_mnist}


def mnist_bytes(name: str) -> bytes:
    """The verified, uncompressed bytes of one MNIST file, from disk if it is there, else downloaded into the cache."""
    for folder in (
        data_folder() / "mnist",
        data_folder(),
        platformdirs.user_cache_path("prune_env") / "data" / "mnist",
    ):
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return _verified(path, name)
    return _download(name)


def _verified(path: Path, name: str) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)  # no more is unpacked, whatever the file says
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is damaged ({error}); expected is a file whose uncompressed content has the SHA-256 "
            f"{MNIST_FILES[name]}: delete it, or replace it by an intact {name}[.gz]"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != MNIST_FILES[name]:
        raise DataError(
            f"{path} is damaged: the SHA-256 of its uncompressed content is {found}, expected {MNIST_FILES[name]}; "
            f"delete it, or replace it by an intact {name}[.gz]"
        )
    return content


def _download(name: str) -> bytes:
    """Fetch into a temporary folder, verify, and only then move into the cache, so that no half file is ever seen."""
    import pooch  # slow to import, and needed once

    folder = platformdirs.user_cache_path("prune_env") / "data" / "mnist"
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for mirror in MNIST_MIRRORS:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
            try:
                fetched = Path(
                    pooch.retrieve(
                        f"{mirror}{name}.gz", known_hash=None, path=scratch, fname=f"{name}.gz", progressbar=True
                    )
                )
                content = _verified(fetched, name)
            except (OSError, DataError, ValueError) as error:
                failures.append(f"{mirror} ({type(error).__name__})")
                continue
            plain = Path(scratch) / name
            plain.write_bytes(content)
            os.replace(plain, folder / name)  # noqa: PTH105
            return content
    raise DataError(
        f"{name} (SHA-256 of the uncompressed file {MNIST_FILES[name]}) was not found and could not be downloaded. "
        f"Put {name} or {name}.gz into {data_folder() / 'mnist'}, or point PRUNE_ENV_DATA at a folder whose "
        f"subfolder 'mnist' holds it. Tried: {', '.join(failures)}"
    )


def _read_idx(content: bytes) -> Tensor:
    """Images of an IDX3 file as uint8 [N, rows * columns], or labels of an IDX1 file as uint8 [N]."""
    sizes = content[3]  # the last byte of the magic number is the number of dimensions
    count, *others = (int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(sizes))
    numbers = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * sizes)
    return torch.from_numpy(numbers.reshape([count, math.prod(others)] if others else [count]).copy())
