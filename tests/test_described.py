"""What decides a result is written down, whatever its type, or refused with its name."""

import enum
import math
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from prune_env.described import describe
from prune_env.storage import canonical_json


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Options:
    depth: int
    widths: tuple


def one():
    return 1


def other():
    return 2


PAIRS = [
    ([0, 1], [7, 1]),
    ({"a": [1, {"b": None}]}, {"a": [1, {"b": 0}]}),
    (None, False),
    (1.0, math.nan),
    (math.inf, -math.inf),
    ((1, 2), (2, 1)),
    ({1, 2}, {1, 3}),
    ({1: "a"}, {2: "a"}),
    (Colour.RED, Colour.BLUE),
    (Path("a"), Path("b")),
    (np.float32(0.5), np.float64(0.25)),
    (np.arange(3), np.arange(3.0)),
    (torch.zeros(2), torch.zeros(2, dtype=torch.bfloat16)),
    (torch.zeros(2), torch.zeros(1, 2)),
    (torch.float32, torch.float64),
    (Options(1, (2, 3)), Options(1, (2, 4))),
    (torch.nn.ReLU, torch.nn.ELU),
    (one, other),
    (partial(one, 1), partial(one, 2)),
    (b"a", b"b"),
    (torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)),
]


@pytest.mark.parametrize(("value", "another"), PAIRS, ids=lambda value: type(value).__name__)
def test_values_are_told_apart(value, another):
    first, second = (canonical_json(describe(x, "x")) for x in (value, another))
    assert first != second and first == canonical_json(describe(value, "x"))


def test_what_cannot_be_told_apart_is_refused():
    endless = []
    endless.append(endless)
    for value in (threading.Lock(), {"a": object()}, endless):
        with pytest.raises(ValueError, match=r"T\.lock = .* cannot be written down .*underscore.*settings\(\)"):
            describe(value, "T.lock")
