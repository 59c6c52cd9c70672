"""Files that were damaged from outside are refused by name, or made again; no damage is silent."""

import json
import random
import warnings
from collections import Counter
from zipfile import ZipFile

import numpy as np
import pytest
import torch

from prune_env.agents.evaluations import Evaluations, read_evaluations
from prune_env.agents.saved import _sha256, read_description
from prune_env.benchmark.records_file import append, read
from prune_env.benchmark.result import Result
from prune_env.dense import CheckpointSpec, checkpoints, load_checkpoint, loop
from prune_env.dense.checkpoints import fresh_train_state
from prune_env.storage import read_sealed, sealed, write_sealed

SPEC = CheckpointSpec("simple", {"width": 8, "dense_steps": 20})
TINY = {"width": 8, "latent_dim": 4, "encoder_width": 8, "batch_size": 8, "steps_per_epoch": 10, "eval_every": 10}
RESUMED = CheckpointSpec("tdmpc", TINY | {"dense_steps": 20})


# ---------------------------------------------------------------------- damages
def mutations(content, other, seed, count):
    """Damaged versions of a file: `other` is a whole file of the same kind that says something else."""
    draw = random.Random(seed)
    yield from (
        b"",
        content[: len(content) // 2],
        content[:-1],
        content + b"\0",
        content + content,
        other,
        b"{}",
        b"[]",
    )
    for number in range(count):
        place = draw.randrange(len(content))
        kind = number % 6
        if kind == 0:
            yield content[:place] + bytes([content[place] ^ (1 << draw.randrange(8))]) + content[place + 1 :]
        elif kind == 1:
            yield content[:place]
        elif kind == 2:
            yield content[:place] + draw.randbytes(draw.randint(1, 8)) + content[place:]
        elif kind == 3:
            yield content[:place] + content[place + draw.randint(1, 20) :]
        elif kind == 4:
            digits = [i for i, byte in enumerate(content) if chr(byte).isdigit()] or [place]
            place = draw.choice(digits)
            yield content[:place] + str((content[place] - 47) % 10).encode() + content[place + 1 :]
        else:
            start = draw.randrange(len(other))
            yield content[:place] + other[start : start + 16] + content[place + 16 :]
    yield from json_mutations(content, draw)


def json_mutations(content, draw):
    """Of a JSON object: deleted keys, wrong types, changed numbers, with the old checksum."""
    try:
        said = json.loads(content)
    except ValueError:
        return
    for name in said if isinstance(said, dict) else ():
        yield json.dumps({k: v for k, v in said.items() if k != name}).encode()
        for value in (None, "x", -1, 1e300, [], {}, draw.random()):
            yield json.dumps(said | {name: value}).encode()


# ---------------------------------------------------------------------- kinds of files
def checkpoint(tmp_path, suffix):
    """A file of a cached checkpoint, and how it is read: None says that it is trained again."""
    stems = []
    for seed in (0, 1):
        spec = CheckpointSpec(SPEC.target, SPEC.options, seed)
        load_checkpoint(spec, progress=False)
        stems.append(checkpoints._cached(checkpoints._settings(spec)))
    settings = checkpoints._settings(SPEC)

    def load():
        stored = checkpoints._read(stems[0], settings)
        return stored and (stored.content, stored.description)

    return stems[0].with_suffix(suffix), stems[1].with_suffix(suffix).read_bytes(), load


def resume_state(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_SAVE_EVERY", 0.0)
    monkeypatch.setattr(loop, "_SAVE_SHARE", 0.0)
    paths = []
    for seed in (0, 1):
        generator = torch.Generator().manual_seed(seed)
        train_state = fresh_train_state(RESUMED, generator=generator)
        paths.append(tmp_path / f"{seed}.partial")
        loop.train_dense(train_state, generator, paths[-1])
    target = train_state.target

    def load():
        generator = torch.Generator().manual_seed(7)
        progress = loop._resume(paths[0], train_state, generator, target.batches(generator))
        return progress.step and (
            progress.step,
            progress.best_value,
            repr(progress.evaluations),
            str(train_state.state()),
        )

    return paths[0], paths[1].read_bytes(), load


def result(**changes):
    fields = {"policy": "a", "env": "E", "network": "n", "stratum": "n", "budget": 0.5, "seed": 0, "config_hash": "x"}
    fields |= {"retained": 0.5, "retained_test": 0.5, "score_test": 0.1, "collapsed": False, "ratios": {"g": 0.5}}
    fields |= {"sparsities": {"parameters": 0.5, "macs": 0.5}, "trial_cuts": 0, "wall_s": 1.0}
    return Result(**(fields | changes))


def records(tmp_path):
    for name, changes in (("records", {}), ("others", {"policy": "b", "retained": 0.7})):
        append(tmp_path / f"{name}.jsonl", result(**changes))
    return tmp_path / "records.jsonl", b"{}", lambda: read(tmp_path / "records.jsonl") or None


def learning_curve(tmp_path):
    for name, value in (("one", 0.5), ("other", 0.7)):
        Evaluations(np.array([8, 16]), np.full((2, 3), value), np.ones((2, 3), int)).write(tmp_path / f"{name}.npz")

    def load():
        found = read_evaluations(tmp_path / "one.npz")
        return found.timesteps.tolist(), found.results.tolist(), found.lengths.tolist()

    return tmp_path / "one.npz", b"PK", load


def agent(tmp_path):
    for name, groups in (("one", 3), ("other", 4)):
        members = {"data": b"{}" * 50, "policy.pth": bytes(range(200))}
        described = {"algorithm": "ppo", "groups": groups, "columns": ["kept"], "normalisation": None, "made_by": {}}
        described["sha256"] = {name: _sha256(content) for name, content in members.items()}
        with ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
            archive.writestr("prune_env.json", json.dumps(sealed(described)))
    return tmp_path / "one.zip", b"PK", lambda: read_description(tmp_path / "one.zip")


def configuration(tmp_path):
    path = tmp_path / "config.json"
    write_sealed(path, {"algorithm": "ppo", "seed": 0, "env_options": {"pool": 2, "budget": [0.3, 0.9]}, "none": None})
    return path, b"{}", lambda: read_sealed(path, "delete it")


KINDS = {
    "tensors": lambda tmp_path, patch: checkpoint(tmp_path, ".safetensors"),
    "description": lambda tmp_path, patch: checkpoint(tmp_path, ".json"),
    "resume state": resume_state,
    "records": lambda tmp_path, patch: records(tmp_path),
    "learning curve": lambda tmp_path, patch: learning_curve(tmp_path),
    "agent": lambda tmp_path, patch: agent(tmp_path),
    "configuration": lambda tmp_path, patch: configuration(tmp_path),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [30, pytest.param(600, marks=pytest.mark.slow)])
def test_no_damage_is_silent(kind, count, tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    path, other, load = KINDS[kind](tmp_path, monkeypatch)
    good, intact = path.read_bytes(), load()
    assert intact
    counts, wrong = Counter(), []
    for content in mutations(good, other, sum(map(ord, kind)), count):
        if content == good:
            continue
        path.write_bytes(content)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                found = load()
            except ValueError as error:
                outcome = "refused" if path.name in str(error) else "traceback"
                if outcome == "traceback":
                    wrong.append(f"{error}")
            except Exception as error:
                outcome = "traceback"
                wrong.append(f"{type(error).__name__}: {error}")
            else:
                torn = any("torn" in str(warning.message) for warning in warned)
                outcome = "remade" if not found or torn else "harmless" if same(found, intact) else "silent"
                if outcome == "silent":
                    wrong.append(repr(content[:300]))
        counts[outcome] += 1
    print(f"{kind}: {dict(counts)}")
    assert not wrong, wrong[:5]
    assert counts["refused"] + counts["remade"] > 0.6 * counts.total() > 15


def same(found, intact):
    """Whether what was read is what was written; a record that is there twice is one."""
    if isinstance(found, list) and found and isinstance(found[0], Result):
        return set(map(repr, found)) == set(map(repr, intact))
    return repr(found) == repr(intact)
