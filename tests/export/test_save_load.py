"""Saved networks are the same in another process, also after several prunings; damaged or foreign ones are refused."""

import copy
import json
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_classifier import FUNCTIONS, Classifier, X, batches, loss, trained
from torch import nn

import prune_env
from prune_env.export import load_pruned, save_pruned, stages_of
from prune_env.export.load import ArchitectureError, read_report
from prune_env.export.save import DESCRIPTION, state_bytes
from prune_env.storage import DamagedFileError, sealed

QUICK = {**FUNCTIONS, "progress": False, "steps": 5, "policy": "uniform"}


def pruned(budget=0.5, model=None):
    return prune_env.prune(model or trained(), **QUICK, budget=budget)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    result = pruned()
    return result.save(folder), result


def outputs(model):
    with torch.no_grad():
        return model.eval()(X)


def test_a_loaded_network_is_the_same(saved):
    folder, result = saved
    model = Classifier()
    assert load_pruned(folder, model=model) is model and torch.equal(outputs(model), outputs(result.model))
    assert model.body[0].out_features == result.model.body[0].out_features < 24
    assert read_report(folder)["policy"] == "uniform" and read_report(folder)["groups"][0]["name"] == "body.0"


def test_pruned_twice_with_training_in_between_and_loaded_in_another_process(tmp_path):
    first = pruned().model.train()
    optimizer = torch.optim.SGD(first.parameters(), lr=0.1)
    loss(first, batches()[0]).backward()
    optimizer.step()
    first = pickle.loads(pickle.dumps(copy.deepcopy(first.eval())))  # the stages go with it
    second = pruned(0.4, first)
    assert len(stages_of(second.model)) == 2
    second.save(tmp_path / "twice")
    torch.save(outputs(second.model), tmp_path / "outputs.pt")
    code = (
        "import sys, torch, prune_env; from small_classifier import Classifier, X\n"
        f"model = prune_env.load_pruned({str(tmp_path / 'twice')!r}, model=Classifier()).eval()\n"
        f"assert torch.equal(model(X), torch.load({str(tmp_path / 'outputs.pt')!r})), 'not the same'"
    )
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": paths})


def test_a_network_that_was_loaded_can_be_pruned_and_saved_again(saved, tmp_path):
    model = load_pruned(saved[0], model=Classifier())
    again = pruned(0.3, model)
    again.save(tmp_path)
    assert torch.equal(outputs(load_pruned(tmp_path, model=Classifier())), outputs(again.model))


class Tied(nn.Module):
    """Two layers that share their weights, and a buffer that is not saved."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(8, 12)
        self.inner, self.again = nn.Linear(12, 12), nn.Linear(12, 12)
        self.again.weight = self.inner.weight
        self.head = nn.Linear(12, 4)
        self.register_buffer("scale", torch.linspace(1, 2, 12), persistent=False)

    def forward(self, x):
        x = self.body(x).relu() * self.scale
        return self.head(self.again(self.inner(x).relu() + x).relu() + x)


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path):
    functions = {"example": X[:1], "score": lambda model: -loss(model, batches()[0]).item(), "floor": -10.0}
    result = prune_env.prune(Tied(), **functions, budget=0.4, policy="uniform", progress=False)
    result.save(tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    assert sum(name in ("model.inner.weight", "model.again.weight") for name in load_file(path)) == 1
    model = load_pruned(tmp_path, model=Tied())
    assert model.again.weight is model.inner.weight and torch.equal(outputs(model), outputs(result.model))


def test_a_folder_is_replaced_as_a_whole(saved, tmp_path):
    for budget in (0.3, 0.6):
        last = pruned(budget)
        last.save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert torch.equal(outputs(load_pruned(tmp_path, model=Classifier())), outputs(last.model))
    assert state_bytes(last.model) < state_bytes(trained())


class Other(Classifier):
    pass


@pytest.mark.parametrize(
    ("model", "difference"),
    [
        (lambda: Other(), "the class of the model is 'Other' and was 'Classifier'"),
        (lambda: edited(head=nn.Linear(24, 5)), "the out_features of module 'head' is 5 and was 4"),
        (lambda: edited(head=nn.Identity()), "the class of module 'head' is 'Identity' and was 'Linear'"),
        (lambda: edited(tail=nn.ReLU()), "the class of module 'tail' is 'ReLU', and there was none"),
        (lambda: edited(head=nn.Linear(24, 4, bias=False)), "it lacks the shape of 'head.bias', which was [4]"),
        (lambda: edited(block=nn.Sequential(nn.Linear(24, 16), nn.ReLU())), "it lacks the class of module 'block.2'"),
        (lambda: pruned().model, "the out_features of module 'body.0' is 15 and was 24"),
    ],
)
def test_another_architecture_is_refused_by_its_first_difference(saved, model, difference):
    given = model()
    before = copy.deepcopy(given.state_dict())
    with pytest.raises(ArchitectureError, match="another network than the saved one") as caught:
        load_pruned(saved[0], model=given)
    assert difference in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in given.state_dict().items())


def edited(**changes):
    model = Classifier()
    for name, module in changes.items():
        setattr(model, name, module)
    return model


def test_what_was_not_pruned_or_cannot_be_saved_is_refused(tmp_path):
    with pytest.raises(ValueError, match="this Classifier was not pruned by prune_env"):
        save_pruned(Classifier(), tmp_path)
    model = pruned().model
    type(model).get_extra_state = lambda self: {"a": 1}
    try:
        with pytest.raises(ValueError, match="'_extra_state' of the network is a dict"):
            save_pruned(model, tmp_path)
    finally:
        del type(model).get_extra_state
    with pytest.raises(FileNotFoundError):
        load_pruned(tmp_path / "nothing", model=Classifier())


# ---------------------------------------------------------------------- damage
def refused(folder):
    model = Classifier()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(DamagedFileError, match="is damaged"):
        load_pruned(folder, model=model)
    after = model.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


def copied_to(folder, source):
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("seed", range(100))
def test_damaged_bytes_are_refused(saved, tmp_path, seed):
    chance = random.Random(seed)
    folder = copied_to(tmp_path / "damaged", saved[0])
    path = chance.choice(sorted(folder.iterdir()))
    content = bytearray(path.read_bytes())
    kind = chance.choice(("flip", "truncate", "extend", "zero", "empty"))
    place = chance.randrange(len(content))
    if kind == "flip":
        content[place] ^= 1 << chance.randrange(8)
    elif kind == "truncate":
        del content[place:]
    elif kind == "extend":
        content += b"}" * (1 + place % 7)
    elif kind == "zero":
        part = slice(place, place + 64)
        content[part] = b"\x01" * len(content[part])
    else:
        content.clear()
    path.write_bytes(bytes(content))
    refused(folder)


def leaves(value, path=()):
    """Paths to everything in a nest of JSON that decides the network."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for key, item in enumerate(value):
            yield from leaves(item, (*path, key))
    yield path


DECIDES_NOTHING = ("report", "model", "checksum", "name", "kind", "root", "least", "components")


@pytest.mark.parametrize("seed", range(100))
def test_fields_that_were_changed_are_refused_even_with_a_checksum_that_fits(saved, tmp_path, seed):
    chance = random.Random(seed)
    folder = copied_to(tmp_path / "changed", saved[0])
    path = folder / DESCRIPTION
    content = json.loads(path.read_bytes())
    decisive = [p for p in leaves(content) if p and not set(DECIDES_NOTHING) & set(p) and p[-1] not in ("aliases",)]
    *way, last = chance.choice(decisive)
    holder = content
    for key in way:
        holder = holder[key]
    old = holder[last]
    holder[last] = chance.choice([x for x in (None, -1, 10**9, "odd", [], {}, 2.5, True) if x != old])
    path.write_text(json.dumps(sealed(content)))
    model = Classifier()
    with pytest.raises((DamagedFileError, ArchitectureError)):
        load_pruned(folder, model=model)
    assert model.body[0].out_features == 24
