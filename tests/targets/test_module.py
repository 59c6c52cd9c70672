"""Any trained module as a target."""

import copy

import pytest
import torch
from small_classifier import FUNCTIONS, Classifier, X, batches, loss, score, trained
from torch import nn

from prune_env import ModuleTarget
from prune_env.dense import Network
from prune_env.testing import check_target


def test_a_module_with_functions_keeps_the_contract_of_a_target():
    assert check_target(ModuleTarget(trained(), **FUNCTIONS)).problems == []


def test_the_network_is_copied_and_its_children_are_components():
    model = trained()
    target = ModuleTarget(model, **FUNCTIONS)
    built = target.build(torch.Generator())
    assert target.components == ("body", "block", "head") and built is not model
    assert torch.equal(built.head.weight, model.head.weight) and built.head.weight is not model.head.weight
    assert target.repair == "batchnorm" and ModuleTarget(nn.Sequential(nn.Linear(8, 4)), **FUNCTIONS).repair == "mean"


def test_batches_are_repeated_and_those_that_are_over_are_refused():
    drawn = ModuleTarget(trained(), **FUNCTIONS).batches(torch.Generator())
    assert [torch.equal(next(drawn)[0], X[32 * (i % 6) :][:32]) for i in range(8)] == [True] * 8
    made = ModuleTarget(trained(), **FUNCTIONS | {"batches": batches}).batches(torch.Generator())
    assert len([next(made) for _ in range(8)]) == 8
    once = ModuleTarget(trained(), **FUNCTIONS | {"batches": iter(batches())}).batches(torch.Generator())
    with pytest.raises(ValueError, match="an iterator that is over"):
        [next(once) for _ in range(8)]


def test_scores_are_taken_in_evaluation_mode_without_gradients():
    seen = []

    def watched(model):
        seen.append((model.training, torch.is_grad_enabled()))
        return score(model, "test")

    target, model = ModuleTarget(trained(), **FUNCTIONS | {"score": watched}), trained().train()
    model.body[3].eval()
    target.score(model, "validation")
    assert seen == [(False, False)] and model.training and not model.body[3].training and not target.has_splits


def test_without_a_score_the_loss_stands_in():
    target = ModuleTarget(trained(), **FUNCTIONS | {"score": None})
    mean = sum(loss(trained(), batch).item() for batch in (batches() * 2)[:8]) / 8
    assert target.score(trained(), "validation") == pytest.approx(-mean)


def test_the_floor_is_the_score_of_a_network_that_answers_nothing():
    silent = trained()
    for parameter in silent.parameters():
        nn.init.zeros_(parameter)
    target = ModuleTarget(trained(), **FUNCTIONS)
    assert target.floor("test") == score(silent.eval(), "test")
    assert ModuleTarget(trained(), **FUNCTIONS, floor=0.25).floor("test") == 0.25


def test_a_score_that_ignores_the_model_it_is_given_is_refused():
    model = trained()
    with pytest.raises(ValueError, match="use the model that it is given"):
        ModuleTarget(model, **FUNCTIONS | {"score": lambda _: score(model, "test")}).check_scale()


def test_frozen_parameters_have_importance_and_stay_frozen():
    model = trained()
    model.body[0].requires_grad_(False)
    network = Network.of(ModuleTarget(model, **FUNCTIONS))
    free = Network.of(ModuleTarget(trained(), **FUNCTIONS))
    assert torch.equal(network.train_state.tracker.groups(), free.train_state.tracker.groups())
    assert not network.train_state.model.body[0].weight.requires_grad


def test_a_loss_that_ignores_the_model_it_is_given_is_refused():
    model = copy.deepcopy(trained())
    target = ModuleTarget(trained(), **FUNCTIONS | {"loss": lambda _, batch: loss(model, batch)})
    with pytest.raises(ValueError, match="has no gradient: does it use the model that it is given"):
        Network.of(target)


def test_entry_points_are_methods_with_examples():
    model = trained()
    points = ModuleTarget(model, **FUNCTIONS, entry_points={"forward": X[:1], "encode": X[:1]}).entry_points(model)
    assert torch.equal(points["encode"].call(model, X[:3]), model.encode(X[:3]))
    assert points["forward"].batch(5)[0].shape == (5, 8)
    named = ModuleTarget(model, **FUNCTIONS, entry_points=lambda net: {"head": net.body(X[:1])}).entry_points(model)
    assert named["head"].example[0].shape == (1, 24) and not named["head"].example[0].requires_grad
    with pytest.raises(ValueError, match="'decode' is no method or submodule of Classifier"):
        ModuleTarget(model, **FUNCTIONS, entry_points={"decode": X[:1]}).entry_points(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"example": None}, "give example="),
        ({"loss": None}, "loss and batches belong together"),
        ({"loss": None, "batches": None, "score": None}, "give score="),
        ({"score": 3}, "score must be a function, got int 3"),
        ({"floor": float("nan")}, "floor must be a finite score"),
    ],
)
def test_what_is_missing_is_said(change, message):
    with pytest.raises(ValueError, match=message):
        ModuleTarget(Classifier(), **FUNCTIONS | change)


def test_what_functions_return_is_checked():
    target = ModuleTarget(trained(), **FUNCTIONS | {"score": lambda model: "good", "loss": lambda model, batch: [1]})
    with pytest.raises(ValueError, match="must return a number, got str 'good'"):
        target.score(target.model, "test")
    with pytest.raises(ValueError, match=r"must return a scalar tensor, got list \[1\]"):
        target.loss(target.model, None)
    with pytest.raises(ValueError, match="must return an optimizer or a list of them"):
        ModuleTarget(trained(), **FUNCTIONS, optimizer=lambda model: []).optimizers(trained())
    with pytest.raises(ValueError, match="has no child with parameters"):
        ModuleTarget(nn.Linear(8, 4), **FUNCTIONS)
