"""All constructs together, with their groups discovered once."""

from __future__ import annotations

import functools

import torch
from locked import LOCKED
from natural import NATURAL
from prunable import PRUNABLE
from split import SPLIT

from prune_env.groups import Grouping, discover

CASES = PRUNABLE + NATURAL + SPLIT + LOCKED
BY_NAME = {case.name: case for case in CASES}


@functools.cache
def grouping_of(name: str) -> Grouping:
    """The groups of a construct, which are the same for every network of it."""
    torch.manual_seed(0)
    return discover(BY_NAME[name].build(), BY_NAME[name].trace, BY_NAME[name].components())
