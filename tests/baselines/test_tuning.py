"""Temperatures of heuristics, chosen on training networks: the best of what was measured, and a file that competes."""

import numpy as np
import pytest
import yaml

from prune_env.baselines import Gradient, tune_heuristic
from prune_env.baselines.tuning import TEMPERATURES, mean_areas
from prune_env.benchmark import compare
from prune_env.benchmark.records import Records
from prune_env.benchmark.result import Result
from prune_env.open_sets import split_options

TINY = {"latent_dim": 4, "hidden_layers": 1, "learning_rate": 0.01, "dense_steps": 60, "steps_per_round": 1}
ENV = "PruneEnv/Autoencoder-v0"


def result(policy, network, budget, retained):
    return Result(
        policy=policy, env="e", network=f"seed={network}", stratum="s", budget=budget, seed=0, config_hash="c",
        retained=retained, retained_test=-0.9, score_test=None, sparsities={"parameters": budget}, collapsed=False,
        trial_cuts=0, ratios={}, wall_s=1.0,
    )  # fmt: skip


def test_areas_by_hand():
    """Validation scores below 0 count as 0; the curve is linear between budgets; test scores are not read."""
    records = Records(
        [
            *(result("a", 0, budget, r) for budget, r in ((0.3, 0.8), (0.5, 0.4), (0.9, -0.7))),
            *(result("a", 1, budget, r) for budget, r in ((0.3, 0.4), (0.5, 0.4), (0.9, 0.4))),
        ]
    )
    first = (0.2 * 0.6 + 0.4 * 0.2) / 0.6
    assert mean_areas(records, ["a"]) == pytest.approx([(first + 0.4) / 2])
    with pytest.raises(ValueError, match="b has not pruned every network"):
        mean_areas(records, ["a", "b"])


def test_the_best_temperature_on_training_networks_competes_by_its_file(tmp_path, env):
    given = {"temperatures": (0.2, 1.0, 5.0), "budgets": (0.4, 0.8), "networks": 2, "env_options": TINY}
    path = tune_heuristic("gradient", ENV, tmp_path / "tune", **given)
    records = Records.read(tmp_path / "tune")
    assert {r.policy for r in records.results} == {f"gradient:temperature={t}" for t in ("0.2", "1", "5")}
    assert len(records.results) == 12 and not any("seed=1000" in r.network for r in records.results)
    areas = [
        np.mean([max(r.retained, 0) for r in records.results if r.policy == f"gradient:temperature={t:g}"])
        for t in given["temperatures"]
    ]
    best = given["temperatures"][int(np.argmax(areas))]
    assert yaml.safe_load(path.read_text()) == {"temperature": best}
    assert "12 cuts of 2 training networks" in path.read_text()
    assert split_options(f"gradient:@{path}") == ("gradient", {"temperature": best})
    run = compare([f"gradient:@{path}"], ENV, budgets=(0.5,), networks=1, out=tmp_path / "bench", env_options=TINY)
    assert [r.policy for r in run.records.results] == [f"gradient:temperature={best}"]
    before = path.read_text()
    assert tune_heuristic("gradient", ENV, tmp_path / "tune", **given).read_text() == before  # nothing left to do
    assert len(Records.read(tmp_path / "tune")) == 12


def test_other_options_are_kept(tmp_path):
    path = tune_heuristic(
        "combined:weights=[1,0,1]", ENV, tmp_path, temperatures=(0.5,), budgets=(0.5,), networks=1, env_options=TINY
    )
    assert yaml.safe_load(path.read_text()) == {"weights": [1, 0, 1], "temperature": 0.5}


def test_the_default_is_among_the_candidates(env):
    assert 1.0 in TEMPERATURES and list(TEMPERATURES) == sorted(TEMPERATURES)
    observation, _ = env.reset(seed=0)
    spread = [np.ptp(Gradient(env, temperature=t).predict(observation)[0]) for t in (TEMPERATURES[0], TEMPERATURES[-1])]
    assert spread[0] > spread[1]


@pytest.mark.parametrize(
    ("policy", "changes", "message"),
    [
        ("uniform", {}, "'uniform' has no temperature to tune"),
        ("cma-es", {}, "'cma-es' has no temperature"),
        ("gradient:temperature=2", {}, "the temperature of .* is given"),
        ("gradient", {"temperatures": (0.0, 1.0)}, "temperature must be"),
        ("gradent", {}, "did you mean 'gradient'"),
    ],
)
def test_mistakes_end_before_anything_has_run(tmp_path, policy, changes, message):
    with pytest.raises(ValueError, match=message):
        tune_heuristic(policy, ENV, tmp_path / "out", env_options=TINY, **changes)
    assert not (tmp_path / "out").exists()
