"""A trajectory is what the instruments say while the network is trained."""

import numpy as np
import pytest
import torch

from prune_env.groups import Surgeon, discover
from prune_env.importance import CosineL1, ImportanceTracker
from prune_env.studies.importance_shift.networks import autoencoders, controllers
from prune_env.studies.importance_shift.ranks import tau
from prune_env.studies.importance_shift.trajectory import COLUMNS, position, trajectory, trajectory_job
from prune_env.targets import TDMPC, Autoencoder
from prune_env.training import train

OPTIONS = {"data": "digits", "latent_dim": 4, "images": 256}


@pytest.fixture(scope="module")
def rows():
    return trajectory("autoencoder", "latent 4", OPTIONS, seed=3, epochs=3)


def kind(rows, name):
    return [r for r in rows if r["kind"] == name]


def test_rows_say_everything_once(rows):
    groups, values, scores = (kind(rows, name) for name in ("group", "importance", "score"))
    assert [r["group"] for r in groups] == [
        "encoder.0", "encoder.3", "encoder.6", "encoder.9", "decoder.0", "decoder.3", "decoder.6",
    ]  # fmt: skip
    assert [r["position"] for r in groups] == [1, 2, 3, 4, 5, 6, 7]
    assert [r["coupling"] for r in groups] == [0, 0, 0, 1, 0, 0, 0]
    assert groups[0]["channels"] == 49 and groups[0]["parameters"] == 64 * 49 + 49
    assert len(values) == 3 * 7 and [r["epoch"] for r in values[::7]] == [1, 2, 3]
    assert {r["metric"]: r["epoch"] for r in scores} == {"mse": 3, "psnr": 3}
    assert all(r["seed"] == 3 and r["setting"] == "latent 4" for r in rows)


def test_importance_is_the_trackers_at_the_end_of_an_epoch(rows):
    target = Autoencoder(**OPTIONS)
    generator = torch.Generator().manual_seed(3)
    model = target.build(generator)
    surgeon = Surgeon(model, discover(model, target.trace, target.components))
    tracker = ImportanceTracker(surgeon, measures=COLUMNS[:3], history=True)
    observers = [CosineL1(surgeon, target.dense_training.steps_per_epoch), tracker]
    train(
        target,
        model,
        target.optimizers(model),
        target.batches(generator),
        3 * target.dense_training.steps_per_epoch,
        observers,
    )
    for epoch in (1, 2, 3):
        expected = tracker.history[epoch * target.dense_training.steps_per_epoch - 1]
        found = [[r[m] for m in COLUMNS[:3]] for r in kind(rows, "importance") if r["epoch"] == epoch]
        assert torch.equal(torch.tensor(found).T, expected)


def test_the_two_forms_of_bayes_order_groups_the_other_way_round(rows):
    last = [r for r in kind(rows, "importance") if r["epoch"] == 3]
    literal, corrected = (np.array([r[m] for r in last]) for m in COLUMNS[2:])
    assert tau(literal, corrected) < -0.8
    assert tau(corrected, np.array([r["gradient"] for r in last])) > 0.3


def test_equal_seeds_make_equal_rows_bit_for_bit(rows):
    assert trajectory("autoencoder", "latent 4", OPTIONS, seed=3, epochs=3) == rows
    other = trajectory("autoencoder", "latent 4", OPTIONS, seed=4, epochs=3)
    assert kind(other, "importance")[0]["gradient"] != kind(rows, "importance")[0]["gradient"]


def test_a_job_knows_the_defaults_of_its_target():
    job = trajectory_job("autoencoder", "latent 4", OPTIONS, 0, 1)
    assert job.depends["learning_rate"] == 1e-3 and job.depends["batch_size"] == 64


def test_positions_in_a_controller_count_layers_from_the_observation():
    target = TDMPC(latent_dim=8, width=16)
    model = target.build(torch.Generator().manual_seed(0))
    groups = discover(model, target.trace, target.components).groups
    found = {g.name: position(model, target.components, g) for g in groups}
    assert found["encoder.0"] == 1 and found["encoder.2"] == 2
    assert {found[f"{name}.0"] for name in ("dynamics", "reward", "pi", "q1", "q2")} == {3}
    assert found["q1.3"] == found["pi.2"] == 4


@pytest.mark.parametrize("quick", [True, False])
def test_one_network_of_each_family_is_trained_for_longer(quick):
    for family in (autoencoders(quick), controllers(quick)):
        assert len({n.setting for n in family}) == len(family) >= 3
        assert [n.epochs > n.shown for n in family].count(True) == 1
        assert all(n.epochs >= n.shown for n in family)
    assert [n.size for n in autoencoders(False)] == [8, 64, 256, 512]
    assert {n.shown for n in autoencoders(False)} == {110} and autoencoders(False)[-1].epochs == 200
