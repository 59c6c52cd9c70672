"""Dense networks as jobs: what is trained, who waits, and what is stored by whom."""

import threading

import pytest

from prune_env.dense import CheckpointSpec, checkpoint_files, is_cached, jobs, load_checkpoint
from prune_env.dense.checkpoints import checkpoint_stem, store_checkpoint, train_checkpoint
from prune_env.dense.jobs import train_networks
from prune_env.dense.pretrain import pretrain
from prune_env.storage import locked

SIZES = {"latent_dim": 4, "dense_steps": 20}
ONE, TWO = (CheckpointSpec("autoencoder", SIZES, seed) for seed in (1, 2))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "checkpoints"


def test_training_alone_stores_nothing(cache):
    _, stored = train_checkpoint(ONE)
    assert not is_cached(ONE) and checkpoint_files(ONE) == [] and not cache.exists()
    store_checkpoint(ONE, stored)
    assert is_cached(ONE) and sorted(path.suffix for path in checkpoint_files(ONE)) == [".json", ".safetensors"]
    assert all(path.parent == cache for path in checkpoint_files(ONE))


def test_what_was_made_otherwise_is_not_stored(cache):
    _, stored = train_checkpoint(ONE)
    stored.description["made_by"]["torch"] = "1.0"
    with pytest.raises(ValueError, match=r"made another network of target 'autoencoder' .*\(torch differ\)"):
        store_checkpoint(ONE, stored)
    assert not is_cached(ONE)


def test_what_is_missing_or_damaged_is_trained_once(cache):
    assert [trained.spec for trained in train_networks([ONE, TWO, ONE])] == [ONE, TWO]
    first = {path.name: path.read_bytes() for path in cache.glob("*.safetensors")}
    assert list(train_networks([ONE, TWO])) == []
    next(iter(checkpoint_files(TWO))).write_bytes(b"damaged")
    assert [trained.spec for trained in train_networks([ONE, TWO])] == [TWO]
    assert {path.name: path.read_bytes() for path in cache.glob("*.safetensors")} == first


def test_what_is_there_is_only_scored(cache):
    load_checkpoint(ONE)
    (trained,) = train_networks([ONE], test=True)
    assert trained.spec == ONE and trained.test["test_score"] < 0


def test_what_another_process_trains_is_waited_for(cache, monkeypatch):
    _, stored = train_checkpoint(ONE)
    taken, trained_here = threading.Event(), []
    original = jobs._do
    monkeypatch.setattr(jobs, "_do", lambda work, send: trained_here.append(work.spec) or original(work, send))

    def train_elsewhere():
        with locked(checkpoint_stem(ONE)):
            taken.set()
            while not is_cached(TWO):
                pass
            store_checkpoint(ONE, stored)

    other = threading.Thread(target=train_elsewhere)
    other.start()
    taken.wait()
    assert [trained.spec for trained in train_networks([ONE, TWO])] == [TWO]
    other.join()
    assert is_cached(ONE) and trained_here == [TWO]


def test_tensorboard_has_every_evaluation_once(cache, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = {"width": 8, "latent_dim": 4, "encoder_width": 8, "batch_size": 8, "dense_steps": 20, "eval_every": 10}
    spec = CheckpointSpec("tdmpc", {**options, "starts": 2}, 3)
    for _ in range(2):
        pretrain([(spec, "seed=3")], tmp_path / "out")
    for path in checkpoint_files(spec):
        path.unlink()
    pretrain([(spec, "seed=3")], tmp_path / "out")  # trained again: the same evaluations
    events = EventAccumulator(str(tmp_path / "out" / "seed=3")).Reload()
    assert [event.step for event in events.Scalars("dense/loss")] == [10, 20]
