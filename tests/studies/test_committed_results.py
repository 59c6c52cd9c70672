"""The committed results are those of the present code: some of them are made again, bit for bit."""

import csv
import io
import json
from pathlib import Path

import pytest

from prune_env.parallel import one_thread
from prune_env.provenance import made_with
from prune_env.studies.component_aware.job import PLAIN, sparsity_sweep
from prune_env.studies.core.harness import DIGITS, PENDULUM
from prune_env.studies.core.rows import to_csv
from prune_env.studies.damage.job import damage
from prune_env.studies.importance_shift.networks import controllers
from prune_env.studies.importance_shift.trajectory import trajectory

COMMITTED = Path(__file__).parents[2] / "docs" / "papers"
pytestmark = pytest.mark.slow


def committed(study, **wanted):
    """The committed rows that have these values; skips where other versions or processors made them."""
    for made in json.loads((COMMITTED / study / "claims.json").read_text())["made_with"]:
        here = made_with()
        if any(made[name] != here[name] for name in ("torch", "numpy", "processor")):
            pytest.skip(f"made with {made}; another processor or version rounds differently")
    with (COMMITTED / study / "data.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if all(row[k] == str(v) for k, v in wanted.items())]
    return [{name: value for name, value in row.items() if value} for row in rows]


def as_written(rows):
    """The rows as a CSV file has them, without columns that the committed ones leave empty."""
    return list(csv.DictReader(io.StringIO(to_csv(rows))))


@one_thread()
def test_trajectories():
    network = controllers(quick=False)[0]
    rows = trajectory(network.target, network.setting, network.options, seed=0, epochs=3)
    rows = as_written([row for row in rows if row["kind"] == "importance"])
    assert rows == committed("fig3", kind="importance", setting=network.setting, seed=0)[: len(rows)]


@one_thread()
def test_damage():
    rows = damage("autoencoder, digits", DIGITS, seed=0, ratio=0.5, steps=100)
    assert as_written(rows) == committed("damage", target="autoencoder, digits", seed=0, ratio=0.5)


@pytest.mark.parametrize(
    ("name", "network"), [("autoencoder, digits", DIGITS), ("TD-MPC, pendulum", PENDULUM)], ids=["digits", "pendulum"]
)
@one_thread()
def test_sparsity_reward(name, network):
    rows = sparsity_sweep(name, network, 0, PLAIN, "l2", (0.4,), steps=100)
    assert as_written(rows) == committed("sparsity-reward", target=name, seed=0, policy="l2", way=PLAIN, sparsity=0.4)
