"""Dense training: the best evaluation is kept, and a killed training goes on as if nothing had happened."""

import itertools
import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save

from prune_env.dense import (
    CheckpointSpec,
    DenseTrainingError,
    checkpoints,
    is_cached,
    load_checkpoint,
    loop,
    training_history,
)
from prune_env.dense import pretrain as pretraining
from prune_env.dense.checkpoints import fresh_train_state
from prune_env.dense.loop import train_dense
from prune_env.dense.pretrain import pretrain
from prune_env.targets.tdmpc import TDMPC

TINY = {"width": 8, "latent_dim": 4, "encoder_width": 8, "batch_size": 8, "steps_per_epoch": 10, "eval_every": 10}
SPEC = CheckpointSpec("tdmpc", TINY | {"dense_steps": 45})


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "checkpoints"


def same(one, other):
    a, b = one.state(), other.state()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def generator():
    return torch.Generator().manual_seed(0)


def test_the_best_network_is_kept():
    train_state, random, states = fresh_train_state(SPEC, generator=generator()), generator(), []
    evaluations = train_dense(
        train_state, random, callback=lambda evaluation, _: states.append((evaluation.value, train_state.state()))
    )
    assert [evaluation.step for evaluation in evaluations] == [10, 20, 30, 40, 45]
    best = max(states, key=lambda pair: pair[0])[1]
    assert all(torch.equal(tensor, best[name]) for name, tensor in train_state.state().items())
    assert all(math.isfinite(evaluation.loss) and evaluation.seconds > 0 for evaluation in evaluations)
    assert evaluations[0].value == min(evaluations[0].numbers[f"{who}_return"] for who in ("planner", "policy"))


def test_evaluating_changes_nothing_in_training():
    often, seldom = (CheckpointSpec("tdmpc", TINY | {"dense_steps": 20, "eval_every": every}) for every in (5, 20))
    trained = [load_checkpoint(spec) for spec in (often, seldom)]
    last = training_history(often)[-1]
    if last.value == max(evaluation.value for evaluation in training_history(often)):
        assert same(*trained)
    assert last.numbers == training_history(seldom)[-1].numbers


def flip(content, place):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGES = {
    "none": None,
    "truncated": lambda content: content[:100],
    "empty": lambda content: b"",
    "flipped in the tensors": lambda content: flip(content, len(content) // 2),
    "flipped in the numbers": lambda content: flip(content, content.index(b"best_value") + 16),
    "appended": lambda content: content + b"x",
    "without metadata": lambda content: save(load(content)),
    "of another network": lambda content: content,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_killed_training_goes_on(cache, monkeypatch, damage, caplog):
    damaged = damage != "none"
    whole = load_checkpoint(SPEC)
    evaluations = training_history(SPEC)
    for path in cache.iterdir():
        path.unlink()
    monkeypatch.setattr(loop, "_SAVE_EVERY", 0.0)
    monkeypatch.setattr(loop, "_SAVE_SHARE", 0.0)

    def kill(evaluation, _):
        if evaluation.step == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_checkpoint(SPEC, callback=kill)
    assert not is_cached(SPEC)
    (resume_path,) = cache.glob("*.partial")
    if damaged:
        if damage == "of another network":
            with pytest.raises(KeyboardInterrupt):
                load_checkpoint(replace(SPEC, seed=1), callback=kill)
            (other,) = set(cache.glob("*.partial")) - {resume_path}
            other.replace(resume_path)
        resume_path.write_bytes(DAMAGES[damage](resume_path.read_bytes()))
    seen = []
    again = load_checkpoint(SPEC, callback=lambda evaluation, best: seen.append((evaluation.step, best)))
    best = dict(
        zip(
            [10, 20, 30, 40, 45],
            itertools.accumulate((evaluation.value for evaluation in evaluations), max),
            strict=True,
        )
    )
    assert seen == [(step, best[step]) for step in ([10, 20, 30, 40, 45] if damaged else [30, 40, 45])]
    assert same(whole, again) and not resume_path.exists()
    assert damaged == ("is damaged" in caplog.text)
    assert [evaluation.numbers for evaluation in training_history(SPEC)] == [
        evaluation.numbers for evaluation in evaluations
    ]


def test_divergence_is_told():
    with pytest.raises(DenseTrainingError, match="diverged"):
        load_checkpoint(CheckpointSpec("tdmpc", TINY | {"dense_steps": 20, "learning_rate": 1e30}))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"score": math.nan}, r"by step 20 \(its evaluation gives score = nan\)"),
        ({"score": 1.0, "x": math.inf}, "x = inf"),
    ],
)
def test_an_evaluation_that_is_not_finite_is_divergence_at_once(monkeypatch, said, message):
    evaluations = iter([{"score": 0.0}, said])
    monkeypatch.setattr(TDMPC, "evaluate", lambda *_: next(evaluations))  # a third evaluation would be an error
    with pytest.raises(DenseTrainingError, match=message):
        load_checkpoint(SPEC)
    assert not is_cached(SPEC)


def test_divergence_after_an_evaluation_is_told_with_its_step(monkeypatch):
    step, calls = TDMPC.training_step, itertools.count(1)

    def diverge(*arguments):
        loss = step(*arguments)
        return loss * math.nan if next(calls) == 25 else loss

    monkeypatch.setattr(TDMPC, "training_step", diverge)
    seen = []
    with pytest.raises(DenseTrainingError, match=r"diverged in training by step 30 \(its loss is not finite\)"):
        load_checkpoint(SPEC, callback=lambda evaluation, _: seen.append(evaluation.step))
    assert seen == [10, 20] and not is_cached(SPEC)


def test_what_could_not_be_written_is_not_lost(cache, monkeypatch):
    monkeypatch.setattr(loop, "_SAVE_EVERY", 0.0)
    monkeypatch.setattr(loop, "_SAVE_SHARE", 0.0)

    def full(*_, **__):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space left"):
        patch.setattr(checkpoints, "_put", full)
        load_checkpoint(SPEC)
    seen = []
    load_checkpoint(SPEC, callback=lambda evaluation, _: seen.append(evaluation.step))
    assert seen == [45] and is_cached(SPEC) and not list(cache.glob("*.partial"))


# ---------------------------------------------------------------------- pretrain
def test_a_folder_of_other_networks_is_refused(tmp_path, monkeypatch):
    out, options = tmp_path / "out", TINY | {"dense_steps": 10, "starts": 2}

    def run(folder=out, seeds=(0,), **changes):
        specs = [(CheckpointSpec("tdmpc", options | changes, seed), f"seed={seed}") for seed in seeds]
        return pretrain(specs, folder)

    first = run()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    refused = [{"dense_steps": 20}, {"starts": 3}, {"seeds": (1,)}]
    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "train_networks", lambda *_, **__: pytest.fail("a network was trained"))
        for changes in refused:
            with pytest.raises(ValueError, match=r"another configuration .* --out"):
                run(**changes)
    assert run() == first
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert run(seeds=(0, 1))[0] == first[0]  # more of the same


def test_a_network_from_the_cache_is_logged_and_keeps_its_origin(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def copy(name, command, spec=SPEC):
        pretrain([(spec, "seed=0")], tmp_path / name, command=command)
        (description,) = (path for path in (tmp_path / name / "seed=0").glob("*.json") if path.name != "result.json")
        return json.loads(description.read_text())

    first = copy("first", "a command")
    assert first["command"] == "a command" and copy("second", "another") == first
    log = EventAccumulator(str(tmp_path / "second" / "seed=0")).Reload()
    logged = {event.step: event.value for event in log.Scalars("dense/return")}
    assert logged == pytest.approx({evaluation.step: evaluation.value for evaluation in training_history(SPEC)})
    other = CheckpointSpec("tdmpc", TINY | {"dense_steps": 10})
    load_checkpoint(other)
    assert copy("third", "another", other)["command"] == "not known: the network was in the cache"


def test_shipped_checkpoints_are_found_verified_and_fit_every_torch(tmp_path, monkeypatch, caplog):
    rows = pretrain([(SPEC, "seed=0")], tmp_path / "out", command="a command")
    made = load_checkpoint(SPEC)
    assert rows[0]["seed"] == 0 and rows[0]["test_score"] == pytest.approx(rows[0]["test_planner_return"])
    best = max(
        training_history(SPEC),
        key=lambda evaluation: min(evaluation.numbers[f"{who}_return"] for who in ("planner", "policy")),
    )
    assert (rows[0]["steps"], rows[0]["return"]) == (best.step, best.value)
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(checkpoints, "SHIPPED", tmp_path / "out" / "seed=0")
    monkeypatch.setattr(torch, "__version__", "9.9")
    assert is_cached(SPEC) and same(load_checkpoint(SPEC), made)
    assert not (tmp_path / "empty").exists()
    (tensors,) = (tmp_path / "out" / "seed=0").glob("*.safetensors")
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)
    load_checkpoint(SPEC)
    assert "is damaged" in caplog.text
