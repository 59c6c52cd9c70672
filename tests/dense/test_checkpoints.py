"""Dense checkpoints: the same bits from cache and from training, safe against damage and against each other."""

import hashlib
import json
import multiprocessing
import os

import pytest
import torch

from prune_env.dense import CheckpointSpec, checkpoints, export_checkpoint, identify, is_cached, load_checkpoint
from prune_env.importance import ImportanceConfig, RegularizerConfig
from prune_env.storage import cache_folder, write_atomically

SPEC = CheckpointSpec("autoencoder", {"latent_dim": 4, "dense_steps": 30}, seed=1)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path))
    return tmp_path / "checkpoints"


def contents(train_state):
    states = [v for p in train_state.model.parameters() for _, v in sorted(train_state.optimizers[0].state[p].items())]
    measured = [tensor for _, tensor in sorted(train_state.tracker.state_dict().items())]
    return [*train_state.model.state_dict().values(), *states, *measured]


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(contents(one), contents(other), strict=True))


def test_a_loaded_checkpoint_equals_the_trained_one(cache):
    assert not is_cached(SPEC)
    trained = load_checkpoint(SPEC)
    assert is_cached(SPEC)
    loaded = load_checkpoint(SPEC)
    assert equal(trained, loaded)
    assert loaded.regularizer.step == trained.regularizer.step == 30
    assert loaded.optimizers[0].param_groups[0]["lr"] == loaded.target.final_learning_rate


def test_what_makes_a_checkpoint_is_in_its_hash(cache):
    load_checkpoint(SPEC)
    for other in (
        CheckpointSpec("autoencoder", {"latent_dim": 4, "dense_steps": 30}, seed=2),
        CheckpointSpec("autoencoder", {"latent_dim": 5, "dense_steps": 30}, seed=1),
        CheckpointSpec(
            "autoencoder", {"latent_dim": 4, "dense_steps": 30}, seed=1, regularizer=RegularizerConfig(enabled=False)
        ),
        CheckpointSpec(
            "autoencoder", {"latent_dim": 4, "dense_steps": 30}, seed=1, importance=ImportanceConfig(eta=2.0)
        ),
        CheckpointSpec("autoencoder", {"latent_dim": 4, "dense_steps": 30, "learning_rate": 2e-3}, seed=1),
    ):
        assert not is_cached(other)


def test_networks_are_known_by_what_makes_them_or_by_their_tensors(cache, tmp_path, monkeypatch):
    known = identify(SPEC)
    assert len(known) == 16 and not is_cached(SPEC)
    assert known != identify(CheckpointSpec("autoencoder", {"latent_dim": 4, "dense_steps": 31}, seed=1))
    load_checkpoint(SPEC)
    assert identify(SPEC) == known
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "9.9")
        assert identify(SPEC) != known
    monkeypatch.setattr(checkpoints, "SHIPPED", tmp_path / "shipped")
    path = export_checkpoint(SPEC, tmp_path / "shipped")
    shipped = identify(SPEC)
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(shipped)
    monkeypatch.setattr(torch, "__version__", "9.9")
    assert identify(SPEC) == shipped != known


def test_a_copy_says_who_made_it_and_not_who_copied_it(cache, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        export_checkpoint(SPEC, tmp_path / "copy")
    load_checkpoint(SPEC, remarks={"command": "first"})
    path = export_checkpoint(SPEC, tmp_path / "copy", command="second", result={"score": 1})
    said = json.loads(path.with_suffix(".json").read_text())
    assert said["command"] == "first" and said["result"] == {"score": 1}
    assert path.read_bytes() == next(cache.glob("*.safetensors")).read_bytes()
    monkeypatch.setattr(checkpoints, "SHIPPED", tmp_path / "copy")
    made_with = torch.__version__
    monkeypatch.setattr(torch, "__version__", "9.9")
    path = export_checkpoint(SPEC, tmp_path / "again", command="third", result={"score": 2})
    assert json.loads(path.with_suffix(".json").read_text()) == said and said["made_by"]["torch"] == made_with


@pytest.mark.parametrize("damage", ["truncated", "flipped", "description", "empty"])
def test_a_damaged_checkpoint_is_trained_anew(cache, damage, caplog):
    trained = load_checkpoint(SPEC)
    (tensors,), (description,) = cache.glob("*.safetensors"), cache.glob("*.json")
    content = bytearray(tensors.read_bytes())
    if damage == "truncated":
        tensors.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[-1] ^= 1
        tensors.write_bytes(content)
    elif damage == "empty":
        tensors.write_bytes(b"")
    else:
        said = json.loads(description.read_text())
        said["made_by"]["seed"] = 7
        description.write_text(json.dumps(said))
    assert equal(load_checkpoint(SPEC), trained)
    assert "is damaged" in caplog.text
    caplog.clear()
    load_checkpoint(SPEC)
    assert not caplog.text


def test_no_pickle_is_read(cache, monkeypatch):
    load_checkpoint(SPEC)

    def refuse(*_, **__):
        raise AssertionError("unpickled")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr("pickle.load", refuse)
    monkeypatch.setattr("pickle.loads", refuse)
    load_checkpoint(SPEC)


def _load(path, queue):
    os.environ["PRUNE_ENV_CACHE"] = path
    torch.set_num_threads(1)
    train_state = load_checkpoint(SPEC)
    queue.put(float(sum(p.double().sum() for p in train_state.model.parameters())))


def test_processes_share_one_checkpoint(cache):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_load, args=(str(cache.parent), queue)) for _ in range(2)]
    for process in processes:
        process.start()
    sums = {queue.get(timeout=120) for _ in processes}
    for process in processes:
        process.join()
    assert len(sums) == 1
    assert len(list(cache.glob("*.safetensors"))) == 1
    assert not list(cache.glob(".*"))  # no scratch file is left


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    write_atomically(path, b"old")

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("PRUNE_ENV_CACHE")
    assert "prune_env" in str(cache_folder())


def test_written_files_have_the_usual_mode(tmp_path):
    write_atomically(tmp_path / "ours", b"")
    (tmp_path / "theirs").write_bytes(b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


def test_a_network_alone_in_half_precision_is_a_state(cache):
    spec = CheckpointSpec("tdmpc", {"dense_steps": 3, "width": 8, "latent_dim": 4, "encoder_width": 8, "starts": 1})
    made = checkpoints.fresh_train_state(spec)
    made.tracker.steps = 7
    with torch.no_grad():
        for p in made.model.parameters():
            p.add_(0.5)  # so that target networks lag behind
    kept = {name: t for name, t in made.state().items() if not name.startswith(("target_network", "optimizer"))}
    half = {name: t.half() if name.startswith("model.") and t.is_floating_point() else t for name, t in kept.items()}
    loaded = checkpoints.fresh_train_state(spec)
    loaded.load(half)
    for name, tensor in loaded.model.state_dict().items():
        assert tensor.dtype == made.model.state_dict()[name].dtype and tensor.equal(half[f"model.{name}"].to(tensor))
    names = [name for name, _ in loaded.surgeon.target_networks]
    assert names
    for name, network in loaded.surgeon.target_networks:
        followed = loaded.model.get_submodule(name).state_dict()
        assert all(followed[key].equal(tensor) for key, tensor in network.state_dict().items())
    assert loaded.tracker.steps == 7 and not any(optimizer.state for optimizer in loaded.optimizers)
    del half[f"model.{names[0]}." + next(iter(loaded.model.get_submodule(names[0]).state_dict()))]
    with pytest.raises(RuntimeError, match="Missing key"):
        loaded.load(half)
