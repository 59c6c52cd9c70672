"""Observations: named columns, fresh arrays."""

import numpy as np
import pytest
import torch

from prune_env.envs import FORMS


@pytest.mark.parametrize("form", FORMS)
def test_observation_has_the_named_columns(make, form):
    env = make(observation=form, rounds=2, budget=0.5)
    observation, info = env.reset(seed=0)
    table = observation.reshape(len(info["groups"]), len(info["columns"]))
    train_state = env.unwrapped.network.train_state
    assert np.allclose(table[:, :3], np.log10(train_state.tracker.groups().numpy()).T, atol=1e-4)
    if form == "importance":
        assert observation.shape == (3 * 7,)
        return
    column = dict(zip(info["columns"], table.T, strict=True))
    root = train_state.model.encoder[0]
    weights = torch.cat([root.weight.flatten(), root.bias]).detach()
    assert column["weight_mean"][0] == pytest.approx(np.log10(weights.abs().mean().item()), abs=1e-4)
    assert column["weight_rms"][0] == pytest.approx(np.log10(weights.square().mean().sqrt().item()), abs=1e-4)
    assert column["size"][0] == pytest.approx(np.log10(64 * 49 + 49), abs=1e-5)
    assert column["channels"][3] == pytest.approx(np.log10(4), abs=1e-5)
    assert column["coupling"].tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert column["kept"].tolist() == [1] * 7
    assert set(column["budget_left"]) == {np.float32(0.5)} and set(column["retained"]) == {1}


def test_observation_is_a_fresh_array(make):
    env = make()
    first, _ = env.reset(seed=0)
    kept = first.copy()
    env.step(np.full(7, 0.5, dtype=np.float32))
    assert np.array_equal(first, kept)


def test_the_share_of_parameters_is_of_those_that_are_present(make):
    env = make(rounds=2, steps_per_round=0)
    _, info = env.reset(seed=0)
    observation, *_ = env.step(np.linspace(0.2, 0.8, 7, dtype=np.float32))
    shares = observation.reshape(7, -1)[:, info["columns"].index("parameters")]
    model = env.unwrapped.network.train_state.model
    layers = [layer for part in (model.encoder, model.decoder) for layer in part if hasattr(layer, "out_features")]
    present = sum(p.numel() for p in model.parameters())
    roots = [layer.weight.numel() + layer.bias.numel() for layer in layers[:-1]]  # all but the output
    np.testing.assert_allclose(shares, np.array(roots) / present, rtol=1e-5)
