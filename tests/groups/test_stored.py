from __future__ import annotations

import torch
from torch import nn

from prune_env.groups.tracing.stored import all_plain_tensors, overlapping, place_of


def test_overlapping_memory() -> None:
    flat = torch.zeros(12)
    tensors = {"all": flat, "part": flat[2:5], "other": torch.zeros(12)}
    assert overlapping(tensors.items()) == {"all", "part"}
    assert overlapping({"one": flat[:6], "two": flat[6:]}.items()) == set()
    assert overlapping({"one": flat, "same": flat.view(12)}.items()) == set()
    square = torch.zeros(3, 4)
    assert overlapping({"one": square, "turned": square.T}.items()) == {"one", "turned"}


def test_tensors_in_the_same_place() -> None:
    flat = torch.zeros(12)
    assert place_of(flat) == place_of(flat[:]) == place_of(nn.Parameter(flat))
    assert place_of(flat) != place_of(flat[:6])
    assert place_of(flat) != place_of(flat.view(3, 4))
    assert place_of(torch.zeros(0)) is None
    assert place_of(torch.zeros(2, device="meta")) is None
    assert place_of(torch.zeros(2).to_sparse()) is None


def test_plain_tensors_have_names() -> None:
    model = nn.Sequential(nn.Linear(2, 3))
    model.mean, model[0].kept = torch.zeros(1), {"a": [torch.zeros(2), (torch.zeros(3), 4)]}
    found = {name: (holder, key) for name, holder, key in all_plain_tensors(model)}
    assert set(found) == {"mean", "0.kept['a'][0]", "0.kept['a'][1][0]"}
    holder, key = found["mean"]
    assert holder[key] is model.mean
    holder[key] = new = torch.ones(1)
    assert model.mean is new
