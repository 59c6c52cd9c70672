"""The example targets train, and the table of their groups holds what can be counted by hand."""

import csv
import pickle
from collections import Counter
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

import prune_env  # noqa: F401  registers the environments
from prune_env.described import describe
from prune_env.studies.component_aware.group_counts import (
    ARCHITECTURE,
    COUNTED,
    PAPER,
    count,
    table1_rows,
    write_table1,
)
from prune_env.targets import DenseTraining, known_targets, make_target
from prune_env.targets.examples import EXAMPLES
from prune_env.training import train

SPLITS = ("train", "validation", "test")
CALLS = {
    "recursive": {"cell": 4, "readout": 4},
    "tdmpc-style": {"dynamics": 2, "reward": 3, "policy": 3, "q1": 3, "q2": 3},
}

every_example = pytest.mark.parametrize("name", EXAMPLES)


def dense(target, steps):
    generator = torch.Generator().manual_seed(0)
    model = target.build(generator)
    train(target, model, target.optimizers(model), target.batches(generator), steps)
    return model


@every_example
def test_is_registered_and_its_components_are_the_children_of_the_network(name):
    target = make_target(name, width=8)
    model = target.build(torch.Generator().manual_seed(0))
    assert known_targets()[name] is EXAMPLES[name]
    assert tuple(child for child, _ in model.named_children()) == target.components


@every_example
def test_training_explains_most_of_the_variance(name):
    target = make_target(name)
    model = dense(target, steps=250)
    for split in SPLITS:
        untrained = target.score(target.build(torch.Generator().manual_seed(1)), split)
        explained = 1 - target.score(model, split) / target.floor(split)
        assert explained > 0.8, split
        assert untrained < 1.1 * target.score(model, split), split


@every_example
def test_the_floor_is_the_mean_predictor(name):
    target = make_target(name)
    assert target.floor("train") == pytest.approx(-1, abs=1e-5)
    for split in SPLITS:
        answers = target._samples[split].answers
        constant = lambda *inputs, answers=answers: tuple(a * 0 for a in answers)  # noqa: E731
        assert -target.loss(constant, target._samples[split]) == pytest.approx(target.floor(split))
        assert target.floor(split) == pytest.approx(-1, abs=0.15), split


@every_example
def test_answers_have_the_shape_of_predictions(name):
    target = make_target(name, width=8, batch_size=5)
    batch = next(target.batches(torch.Generator().manual_seed(0)))
    predictions = target.build(torch.Generator().manual_seed(0))(*batch.inputs)
    assert [p.shape for p in predictions] == [a.shape for a in batch.answers]
    assert {len(p) for p in predictions} == {5}
    assert all(torch.isfinite(p).all() for p in predictions)


@every_example
def test_the_trace_takes_every_path(name):
    target = make_target(name, width=8)
    model = target.build(torch.Generator().manual_seed(0))
    calls = Counter()
    for component in target.components:
        model.get_submodule(component).register_forward_hook(lambda *_, c=component: calls.update([c]))
    outputs = target.trace(model)
    assert dict(calls) == dict.fromkeys(target.components, 1) | CALLS.get(name, {})
    sum(output.sum() for output in outputs).backward()
    assert all(p.grad is not None for p in model.parameters())


@every_example
def test_data_and_weights_repeat_themselves(name):
    one, other = make_target(name, width=8), pickle.loads(pickle.dumps(make_target(name, width=8)))
    model = one.build(torch.Generator().manual_seed(3))
    again = other.build(torch.Generator().manual_seed(3))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters(), strict=True))
    assert one.score(model, "test") == other.score(again, "test")
    assert one.score(model, "test") != one.score(model, "validation")
    assert one.settings() == {"width": 8, "batch_size": 64, "learning_rate": 3e-3} | {
        "dense_training": describe(DenseTraining(one.dense_training.steps, steps_per_epoch=32), "dense_training")
    }


@pytest.mark.parametrize("option", [{"width": 0}, {"batch_size": 0}, {"batch_size": 5000}, {"learning_rate": 0.0}])
def test_impossible_options_raise(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        make_target("simple", **option)


@every_example
def test_can_be_pruned_to_a_budget(name):
    env = gym.make("PruneEnv/Pruning-v0", target=name, rounds=1, steps_per_round=20, budget=0.5, dense_steps=150)
    env.reset(seed=0)
    *_, info = env.step(np.full(env.action_space.shape, 0.5, dtype=np.float32))
    assert info["reward_terms"]["sparsity"] == pytest.approx(0.5, abs=0.03)
    assert not info["collapsed"]


# -------------------------------------------------------------------- the table
def test_the_simple_row_is_the_papers():
    simple = count(make_target("simple"))
    assert sorted(simple.vanilla) == [1, 5, 5, 6, 6, 6]
    assert sorted(simple.aware) == [1, 1, 1, 2, 2, 2, 2, 2]
    assert simple.cells() == PAPER["simple"] == ("3", "6", "4.83", "8", "1.63", "2")


@pytest.mark.parametrize(
    ("name", "layers", "interfaces"),
    # Holds where a component is a chain of Linear layers; the CNN has a residual, a depthwise layer and a gate.
    [("branched", 8, 3), ("multipath", 8, 3), ("recursive", 6, 3), ("tdmpc-style", 17, 9)],
)
def test_component_aware_groups_are_one_for_each_layer_and_one_for_each_interface(name, layers, interfaces):
    counted = count(make_target(name, width=8))
    assert counted.interfaces == interfaces
    assert len(counted.aware) == layers + interfaces
    within_chains = 2 * layers - counted.components  # each layer's own channels, and the next layer's inputs
    assert sum(counted.aware) == within_chains + 2 * interfaces


def test_the_width_does_not_matter():
    assert count(make_target("recursive", width=8)) == count(make_target("recursive", width=20))


def test_the_table_is_written_with_ours_beside_the_papers(tmp_path):
    write_table1(tmp_path / "groups")
    with (tmp_path / "groups" / "table1.csv").open(newline="") as file:
        rows = [tuple(row) for row in csv.reader(file)]
    assert rows == table1_rows()
    assert [row[0] for row in rows[1:]] == list(EXAMPLES)
    discovered = {row[0]: row[-3:-1] for row in rows[1:]}
    assert discovered == {
        "simple": ("3", "2"),
        "branched": ("4", "1"),
        "multipath": ("4", "2"),
        "recursive": ("3", "1"),
        "tdmpc-style": ("11", "1"),
        "complex-cnn": ("5", "1"),
    }
    page = (tmp_path / "groups" / "table1.md").read_text()
    assert "| simple | 3 / 3 | 6 / 6 | 4.83 / 4.83 | 8 / 8 | 1.63 / 1.63 | 2 / 2 |" in page
    assert "its row fixes the network. Nothing differs." in page
    assert "Components 3, not 4; vanilla groups 5, not 10; vanilla size 9.20, not 4.47; " in page


def test_every_row_of_the_paper_is_entered():
    assert list(PAPER) == list(ARCHITECTURE) == list(EXAMPLES)
    branched = dict(zip(COUNTED, PAPER["branched"], strict=True))  # §5 of the paper says it in words
    assert (branched["vanilla groups"], branched["vanilla size"]) == ("20", "4.10")
    assert (branched["component-aware groups"], branched["component-aware size"]) == ("33", "1.73")
    for row in PAPER.values():
        components, groups, size, aware, aware_size, interfaces = map(float, row)
        assert components > 1 and interfaces > 0 and aware > groups and aware_size < size


def test_component_aware_groups_are_more_and_smaller_in_every_network_of_ours():
    for factory in EXAMPLES.values():
        _, groups, size, aware, aware_size, _ = map(float, count(factory()).cells())
        assert aware > groups and aware_size < size


def test_the_committed_table_is_what_the_code_counts(tmp_path):
    write_table1(tmp_path)
    committed = Path(__file__).parents[2] / "docs" / "groups"
    for name in ("table1.csv", "table1.md"):
        assert (tmp_path / name).read_text() == (committed / name).read_text()
