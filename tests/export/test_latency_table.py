"""Latency from widths: a table measured on this machine, which is checked on random networks."""

import json

import numpy as np
import pytest
import torch
from small_classifier import FUNCTIONS
from torch import nn

from prune_env import ModuleTarget, PruningEnv
from prune_env.dense import Network
from prune_env.envs import COSTS
from prune_env.export import latency_table as tables
from prune_env.export.latency_table import CHECKED, FITTED, latency_table


class Wide(nn.Module):
    """Slow enough that its time follows its widths."""

    def __init__(self):
        super().__init__()
        self.body, self.block, self.head = nn.Linear(8, 1200), nn.Linear(1200, 800), nn.Linear(800, 4)

    def forward(self, x):
        return self.head(self.block(self.body(x).relu()).relu())


@pytest.fixture
def network(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path))
    monkeypatch.setattr(tables, "_SECONDS", 0.02)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network.of(ModuleTarget(Wide(), **FUNCTIONS | {"score": lambda model: 1.0}, floor=0.0))


def test_the_table_predicts_networks_that_it_has_not_seen(network):
    before = network.train_state.snapshot()
    table = latency_table(network)
    assert len(table.widths) == len(table.times) == FITTED + CHECKED and table.groups == ["body", "block"]
    after = network.train_state.snapshot()
    pairs = zip(before.surgeon.tensors, after.surgeon.tensors, strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert np.median(np.abs(table.errors(network.cost))) < 0.35  # on a busy machine; docs have the real figure
    grid = np.array([[150, 100], [300, 200], [600, 400], [1200, 800]])
    times = table.predict(network.cost, grid)
    assert (np.diff(times) >= 0).all() and times[3] > 2 * times[0]
    assert table.predict(network.cost, network.grouping.widths) == pytest.approx(table.dense, rel=0.5)


def test_the_table_is_measured_once_for_a_machine_and_again_if_its_file_is_damaged(network, monkeypatch, tmp_path):
    first = latency_table(network)
    calls = []
    monkeypatch.setattr(tables, "measure_table", lambda *given: calls.append(given) or first)
    assert latency_table(network) == first and not calls
    (path,) = (tmp_path / "latency").glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dense": 1.0}))
    assert latency_table(network) == first and len(calls) == 1
    latency_table(network, again=True)
    assert len(calls) == 2


def test_latency_is_a_budget_and_a_term_but_measured_only_when_asked_for(network, monkeypatch):
    plain = PruningEnv(networks=[network], rounds=1, steps_per_round=0)
    plain.reset(seed=0)
    assert set(plain.episode.terms.costs) == set(COSTS)
    env = PruningEnv(networks=[network], rounds=1, steps_per_round=0, budget=0.5, budget_unit="latency")
    env.reset(seed=0)
    *_, info = env.step(np.full(2, 0.5, dtype=np.float32))
    assert info["sparsities"]["latency"] >= 0.5 and info["reward_terms"]["latency"] > 0
    weights = {"retained": 1.0, "sparsity_latency": 1.0}
    env = PruningEnv(networks=[network], rounds=1, objective="weighted", objective_options=weights)
    assert "latency" in env.config.costs
