"""prune(): the smaller network, and the one that was given as it was."""

import random

import numpy as np
import pytest
import torch
from small_classifier import FUNCTIONS, X, loss, score, trained
from torch.utils.data import DataLoader, TensorDataset
from trained_target import Trained

import prune_env
from prune_env.api import BEST, one_call

QUICK = {**FUNCTIONS, "progress": False, "steps": 5}


def state_of(model):
    return {
        "tensors": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "gradients": {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()},
        "modes": {name: module.training for name, module in model.named_modules()},
        "objects": [id(p) for p in model.parameters()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].copy(),  # noqa: NPY002
        "random": random.getstate()[1],
    }


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (torch.Tensor, np.ndarray)):
        return bool((torch.as_tensor(one) == torch.as_tensor(other)).all())
    return one == other


def test_the_given_model_stays_as_it_is_bit_for_bit():
    model = trained()
    model.body[3].train()
    loss(model, (X[:8], torch.zeros(8, dtype=torch.long))).backward()
    loader = DataLoader(
        TensorDataset(X[:64], X.argmax(1)[:64] % 4), 16, True, generator=torch.Generator().manual_seed(3)
    )
    drawn, before = loader.generator.get_state(), state_of(model)
    result = prune_env.prune(model, **QUICK | {"batches": loader}, budget=0.5, policy="uniform")
    assert same(before, state_of(model)) and torch.equal(drawn, loader.generator.get_state())
    modes = {name: module.training for name, module in result.model.named_modules()}
    assert modes == before["modes"] and all(p.grad is None for p in result.model.parameters())


def test_a_budget_is_met_and_the_report_is_true():
    result = prune_env.prune(trained(), **QUICK, budget=0.6, policy="gradient", min_channels=3, round_to=2)
    report, model = result.report, result.model
    before, after = report.costs["parameters"]
    assert before == sum(p.numel() for p in trained().parameters()) and report.sparsity >= 0.6
    assert after == sum(p.numel() for p in model.parameters())
    widths = {group.name: (group.before, group.after) for group in report.groups}
    assert widths["body.0"] == (24, model.body[0].out_features) and model.body[0].out_features % 2 == 0
    assert widths["block.0"] == (16, model.block[0].out_features) and model.block[0].out_features >= 4
    locked = report.groups[-1]
    assert locked.kind == "locked" and locked.kept == 1 and "output" in locked.reason
    floor, dense = report.scores["test"].floor, report.scores["test"].dense
    assert dense == score(trained(), "test") and report.scores["validation"].dense == score(trained(), "validation")
    assert report.retained == pytest.approx((score(model, "test") - floor) / (dense - floor))
    assert report.trials[0].retained == report.scores["validation"].after and report.policy == "gradient"
    assert report.size[1] < report.size[0] and report.seconds["total"] >= report.seconds["ours"] > 0
    assert "gradient" in str(result) and "body.0" in str(result)


def test_best_tries_the_heuristics_and_takes_the_best():
    report = prune_env.prune(trained(), **QUICK, budget=0.7).report
    assert [trial.policy for trial in report.trials] == list(BEST)
    best = max(trial.retained for trial in report.trials)
    assert report.scores["validation"].after == best
    assert report.policy == next(trial.policy for trial in report.trials if trial.retained == best)


def test_the_score_before_fine_tuning_is_that_of_the_same_channels():
    result = prune_env.prune(trained(), **QUICK | {"steps": 0}, budget=0.5, policy="l2", repair="none")
    scores = result.report.scores["validation"]
    again = prune_env.prune(trained(), **QUICK | {"steps": 1}, budget=0.5, policy="l2", repair="none")
    assert scores.cut is None and again.report.scores["validation"].cut == scores.after


def test_keep_finds_the_largest_sparsity_by_bisection():
    report = prune_env.prune(trained(), **QUICK, keep=0.9, policy="uniform").report
    kept = [trial for trial in report.trials if trial.kept]
    assert kept and all(trial.retained >= 0.9 for trial in kept) and report.scores["validation"].after >= 0.9
    assert report.sparsity == max(trial.sparsity for trial in kept) and report.keep == 0.9
    missed = [trial.budget for trial in report.trials if not trial.kept]
    assert not missed or min(missed) - report.budget <= 0.03 or report.sparsity >= min(missed) - 0.03
    assert 4 <= len(report.trials) <= 8


def test_quality_that_nothing_keeps_leaves_the_network_as_it_was():
    falling = iter(range(10_000))

    def worse(model):  # each network that is scored is worse than the one before it
        return 1.0 / (1 + next(falling)) if any(p.abs().sum() for p in model.parameters()) else 0.0

    result = prune_env.prune(trained(), **QUICK | {"score": worse}, keep=0.99, policy="uniform")
    assert result.report.policy == "nothing" and result.report.sparsity == 0 and "as it was" in str(result)
    assert torch.equal(result.model(X), trained()(X))


def test_without_a_loss_weights_decide():
    bare = {"example": X[:1], "score": score, "progress": False}
    report = prune_env.prune(trained(), **bare, budget=0.5).report
    assert report.policy in ("uniform", "l1", "l2", "global-l2", "global-l2-rel") and report.sparsity >= 0.5
    for wrong in ({"criterion": "taylor"}, {"criterion": "activation"}, {"policy": "global-fisher"}, {"steps": 3}):
        with pytest.raises(ValueError, match="no loss was given"):
            prune_env.prune(trained(), **bare, budget=0.5, **wrong)
    with pytest.raises(ValueError, match="needs the columns"):
        prune_env.prune(trained(), **bare, budget=0.5, policy="gradient")


def test_in_place_the_module_itself_is_cut():
    model = trained().train()
    result = prune_env.prune(model, **QUICK, budget=0.5, policy="uniform", inplace=True)
    assert result.model is model and model.body[0].out_features < 24 and model.training
    copy = prune_env.prune(trained(), **QUICK, budget=0.5, policy="uniform").model
    assert same(copy.state_dict(), model.state_dict())


def test_equal_seeds_give_equal_networks():
    one, other = (prune_env.prune(trained(), **QUICK, budget=0.6, policy="random", seed=s).model for s in (4, 4))
    assert same(one.state_dict(), other.state_dict())


def test_targets_and_their_names_are_pruned_too():
    result = prune_env.prune(Trained(), budget=0.5, policy="uniform", steps=2, progress=False, protect=("head.0",))
    assert result.report.sparsity >= 0.5 and result.model.body[0].out_features < 12
    assert {group.name: group.after for group in result.report.groups}["head.0"] == 8
    named = prune_env.prune(
        "simple", options={"dense_steps": 60, "width": 8}, budget=0.4, policy="uniform", steps=2, progress=False
    )
    assert named.report.sparsity >= 0.4 and "test" in named.report.scores


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "either budget=0.5, a sparsity, or keep=0.95"),
        ({"budget": 0.5, "keep": 0.9}, ValueError, "either budget"),
        ({"budget": 1.5}, ValueError, r"budget must be a number in \(0, 1\), got 1.5"),
        ({"keep": "much"}, ValueError, "keep must be a number"),
        ({"budget": 0.5, "policy": "nobody"}, ValueError, "unknown policy 'nobody'"),
        ({"budget": 0.5, "criterion": "size"}, ValueError, "unknown criterion 'size'"),
        ({"budget": 0.5, "protect": ("tail",)}, ValueError, r"cannot protect \['tail'\]"),
        ({"budget": 0.5, "options": {"width": 3}}, TypeError, "width: a Classifier is no name of a target"),
        ({"budget": 0.9999}, ValueError, "cannot be reached"),
    ],
)
def test_what_does_not_fit_is_said(arguments, error, message):
    with pytest.raises(error, match=message):
        prune_env.prune(trained(), **QUICK | arguments)


def test_what_cannot_be_pruned_is_said():
    with pytest.raises(ValueError, match=r"an nn.Module, a Target or its name, or an SB3 agent or its zip; got int"):
        prune_env.prune(3, budget=0.5)
    with pytest.raises(ValueError, match="unknown target 'nothing'"):
        prune_env.prune("nothing", budget=0.5)
    with pytest.raises(TypeError, match=r"loss: they describe an nn.Module"):
        prune_env.prune("simple", budget=0.5, loss=loss)
    with pytest.raises(ValueError, match="inplace is for an"):
        prune_env.prune("simple", budget=0.5, inplace=True)


@pytest.mark.parametrize(
    ("choice", "steps"),
    [
        ({"policy": "uniform", "criterion": "l2"}, 0),
        ({"policy": "l2", "criterion": "bn_scale"}, 0),
        ({"policy": "uniform"}, 20),
        ({"policy": "gradient", "criterion": "l2"}, 20),
        ({"policy": "global", "criterion": "l2"}, 20),
    ],
)
def test_importance_is_measured_where_it_is_read(choice, steps, monkeypatch):
    seen, make = [], one_call.network_of
    monkeypatch.setattr(one_call, "network_of", lambda *a, **k: seen.append(make(*a, **k)) or seen[0])
    prune_env.prune(trained(), **QUICK | {"steps": 0} | choice, budget=0.5)
    assert seen[0].train_state.tracker.steps == steps
