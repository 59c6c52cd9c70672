"""Benchmarks: equal terms for all policies, one record for each cut, failures on record, and runs that resume."""

import csv
import math
from dataclasses import asdict
from importlib import import_module

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from prune_env import PruningEnv
from prune_env.agents import EnvFactory, save_agent, train_agent
from prune_env.agents.policies import GroupPolicy
from prune_env.baselines import Random, RandomSearch, Uniform
from prune_env.benchmark import Failure, Result, Run, compare, policies, rank_policies, register_policy
from prune_env.benchmark.agent_training import read_trainings
from prune_env.benchmark.records_file import read
from prune_env.dense import checkpoints
from prune_env.envs.costs import COSTS, register_cost, sparsity_name
from prune_env.targets.autoencoder import Autoencoder

comparison = import_module("prune_env.benchmark.compare")  # the package gives this name to the function in it

OPTIONS = {"rounds": 1, "steps_per_round": 2, "hidden_layers": 1, "learning_rate": 0.01, "dense_steps": 60}
ENV_ID = "PruneEnv/Autoencoder-v0"
SETTING = {"env": ENV_ID, "env_options": OPTIONS, "budgets": (0.3, 0.6), "networks": 2, "seeds": 2}
NAMES = ("none", "uniform", "fisher", "global-l2")


def records_of(*arguments, **options):
    return compare(*arguments, **options).records


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    monkeypatch.setattr(policies, "_REGISTERED", {})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder and records of four policies x two budgets x two networks x two seeds."""
    folder = tmp_path_factory.mktemp("duel")
    return folder, records_of(NAMES, out=folder, **SETTING)


def lines(folder):
    return (folder / "records.jsonl").read_text().splitlines()


def numbers(records, **renamed):
    """What every result holds, by identity, without the time that it took."""
    return {
        (renamed.get(r.policy, r.policy), r.network, r.budget, r.seed): {
            k: v for k, v in asdict(r).items() if k not in ("wall_s", "policy")
        }
        for r in records.results
    }


# ---------------------------------------------------------------------- what is recorded
def test_there_is_a_record_for_every_policy_budget_network_and_seed(run):
    folder, records = run
    assert len(lines(folder)) == len(records) == 4 * 2 * 2 * 2 and not records.failures
    assert {r.key[:4] for r in records.results} == {
        (policy, network, budget, seed)
        for policy in NAMES
        for network in ("latent_dim=6, seed=10000", "latent_dim=12, seed=10001")  # held out: neither was trained on
        for budget in (0.3, 0.6)
        for seed in (0, 1)
    }
    assert len({r.config_hash for r in records.all}) == 1
    assert {r.stratum for r in records.all} == {"latent_dim=6", "latent_dim=12"}


def test_budgets_are_met_and_numbers_are_sane(run):
    for r in run[1].results:
        if r.policy != "none":
            assert r.budget <= r.budget_sparsity < r.budget + 0.05
            assert any(ratio > 0 for ratio in r.ratios.values())
        assert -1 <= r.retained_test <= 1.2 and r.wall_s > 0
        # minus the MSE; a network far below the floor has none worth telling
        assert r.score_test is None if r.retained_test == -1 else r.score_test < 0
        assert set(r.ratios) == {"encoder.0", "encoder.3", "decoder.0"}
        assert r.versions["torch"] and r.hardware and r.env == ENV_ID


def test_no_pruning_is_run_without_a_budget(run):
    untouched = [r for r in run[1].results if r.policy == "none"]
    assert all(r.budget_sparsity == 0 and set(r.ratios.values()) == {0.0} and not r.collapsed for r in untouched)
    assert min(r.retained for r in untouched) > 0.9


def test_privileged_policies_are_marked_and_their_trials_counted(tmp_path):
    register_policy("search-3", lambda env: RandomSearch(env, evaluations=3))
    records = records_of(["uniform", "search-3"], out=tmp_path, **{**SETTING, "networks": 1, "seeds": 1})
    assert {r.policy: (r.privileged, r.learned, r.trial_cuts) for r in records.results} == {
        "uniform": (False, False, 0),
        "search-3": (True, False, 3),
    }


def test_a_new_cost_is_in_records_table_and_report_without_a_change_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setitem(COSTS, "channels", None)  # taken back after the test
    del COSTS["channels"]
    register_cost("channels", lambda network: lambda widths: np.asarray(widths).sum(axis=-1))
    options = {**OPTIONS, "budget_unit": "channels"}
    small = {"env_options": options, "budgets": (0.3, 0.6), "networks": 1, "seeds": 1}
    run = compare(["uniform", "none"], out=tmp_path, **small)
    for r in run.records.results:
        assert set(r.sparsities) == set(COSTS) == {"parameters", "macs", "channels"} and r.budget_unit == "channels"
        assert r.budget_sparsity == r.sparsities["channels"] and (r.policy == "none" or r.budget_sparsity >= r.budget)
    standings = {s.policy: s for s in rank_policies(run.records).standings}
    assert standings["uniform"].ranked and not standings["none"].ranked
    assert "channels removed" in run.report().read_text() and "channels removed" in run.table(300)
    (row, _) = csv.DictReader((tmp_path / "table.csv").open(newline=""))
    for cost in COSTS:
        assert float(row[f"{sparsity_name(cost)}_0.6"]) == pytest.approx(standings["uniform"].sparsities[cost][1], 1e-5)


def test_how_an_agent_was_trained_is_kept_beside_the_records(tmp_path):
    options = {"budget": 0.5, **OPTIONS}
    paths = [
        train_agent(
            "ppo", ENV_ID, tmp_path / f"ppo-{seed}", env_options=options, timesteps=8, n_envs=1, seed=seed,
            hyperparams={"n_steps": 8, "batch_size": 8, "n_epochs": 1}, eval_every=8, eval_episodes=2, progress=False,
        )
        for seed in (0, 1)
    ]  # fmt: skip
    small = {**SETTING, "networks": 1, "seeds": 1}
    run = compare([*map(str, paths), "uniform"], out=tmp_path / "duel", **small)
    known = read_trainings(tmp_path / "duel")
    assert {name: (t.seed, t.cuts, len(t.returns)) for name, t in known.items()} == {
        "ppo-0": (0, 8, 1),
        "ppo-1": (1, 8, 1),
    }
    assert {r.policy: r.agent for r in run.records.all} == {"uniform": ""} | {n: t.agent for n, t in known.items()}
    assert list(run.records.kinds) == ["ppo (2 seeds)", "uniform"]
    assert "ppo (2 seeds): hyperparameters" in run.report().read_text()


# ---------------------------------------------------------------------- on equal terms
@pytest.mark.parametrize(("policy", "arguments"), [(Uniform, {}), (Random, {}), (RandomSearch, {"evaluations": 2})])
def test_two_copies_of_a_policy_get_identical_results(tmp_path, policy, arguments):
    other = type("Copied", (policy,), {})
    register_policy("a", lambda env: policy(env, **arguments))
    register_policy("b", lambda env: other(env, **arguments))
    records = records_of(["a", "b"], out=tmp_path, **SETTING)
    found = numbers(records)
    ours = {key[1:]: value for key, value in found.items() if key[0] == "a"}
    theirs = {key[1:]: value for key, value in found.items() if key[0] == "b"}
    assert len(ours) == 8 and ours == theirs
    assert len({value["retained"] for value in ours.values()}) == 8  # other seeds, budgets and networks differ


def test_what_a_policy_gets_does_not_depend_on_who_competes(run, tmp_path):
    alone = numbers(records_of(["random-search", "uniform"], out=tmp_path, **{**SETTING, "networks": 2, "seeds": 1}))
    together = numbers(run[1])
    shared = [key for key in alone if key[0] == "uniform"]
    assert len(shared) == 4
    assert all(alone[key] == together[key] for key in shared)


def test_the_same_arguments_give_the_same_records(run, tmp_path):
    comparison._environment.cache_clear()  # networks are loaded anew
    assert numbers(records_of(NAMES, out=tmp_path, **SETTING)) == numbers(run[1])


def test_two_processes_give_the_same_records(run, tmp_path):
    assert numbers(records_of(NAMES, out=tmp_path, jobs=2, **SETTING)) == numbers(run[1])


# ---------------------------------------------------------------------- going on
def test_what_is_done_is_not_repeated(run, monkeypatch):
    folder, records = run
    before = lines(folder)
    monkeypatch.setattr(PruningEnv, "step", lambda *args: pytest.fail("an episode was run"))
    again = records_of(NAMES, out=folder, **SETTING)
    assert lines(folder) == before and numbers(again) == numbers(records)


def test_only_what_is_missing_is_run(run, tmp_path):
    (tmp_path / "records.jsonl").write_text("\n".join(lines(run[0])[:11]) + "\n")
    records = records_of(NAMES, out=tmp_path, **SETTING)
    assert len(lines(tmp_path)) == 32 and lines(tmp_path)[:11] == lines(run[0])[:11]
    assert numbers(records) == numbers(run[1])


def test_another_configuration_is_run_beside_the_first(tmp_path):
    small = {**SETTING, "networks": 1, "seeds": 1, "budgets": (0.5,)}
    records_of(["uniform"], out=tmp_path, **small)
    records = records_of(["uniform"], out=tmp_path, **{**small, "env_options": {**OPTIONS, "steps_per_round": 1}})
    assert len(records.results) == 2 and len({r.config_hash for r in records.results}) == 2


def test_another_recipe_of_the_dense_networks_is_run_again(tmp_path, monkeypatch):
    small = {**SETTING, "networks": 3, "seeds": 1, "budgets": (0.5,)}
    records_of(["uniform"], out=tmp_path, **small)
    (before,) = [value for value in Autoencoder.__init__.__defaults__ if value == 3e-4]
    defaults = tuple(1e-3 if value == before else value for value in Autoencoder.__init__.__defaults__)
    with monkeypatch.context() as patch:
        patch.setattr(Autoencoder.__init__, "__defaults__", defaults)
        comparison._environment.cache_clear()
        records = records_of(["uniform", "fisher"], out=tmp_path, **{**small, "networks": 2})
    comparison._environment.cache_clear()
    assert len(lines(tmp_path)) == len(records.results) == 3 + 2 * 2
    shown, left_out = records.latest_configuration()
    old = {r.dense for r in records.results[:3]}
    assert [r.policy for r in shown.results] == ["uniform", "fisher"] * 2 and left_out == 3
    assert len(old) == 3 and len({r.dense for r in shown.results} - old) == 2
    assert "left out: 3." in Run.read(tmp_path).table()


def test_one_shipped_network_that_was_replaced_is_run_again(tmp_path, monkeypatch):
    small = {**SETTING, "networks": 2, "seeds": 1, "budgets": (0.5,)}
    records_of(["uniform"], out=tmp_path, **small)
    monkeypatch.setattr(
        comparison, "identify", lambda spec: "another" if spec.seed == 10_001 else checkpoints.identify(spec)
    )
    records = records_of(["uniform"], out=tmp_path, **small)
    assert [r.network.split(", ")[1] for r in read(tmp_path / "records.jsonl")] == [
        "seed=10000",
        "seed=10001",
        "seed=10001",
    ]
    shown, left_out = records.latest_configuration()
    assert left_out == 1 and [r.dense == "another" for r in shown.results] == [False, True]


def test_another_model_at_the_same_path_is_run_again(tmp_path):
    small = {**SETTING, "networks": 1, "seeds": 1, "budgets": (0.5,)}
    env, folder = PruningEnv("autoencoder", budget=0.5, **OPTIONS), tmp_path / "ppo"
    venv = DummyVecEnv([EnvFactory(ENV_ID, {"budget": 0.5, **OPTIONS})])
    found = []
    for seed in (0, 0, 1):
        model = PPO(GroupPolicy, venv, seed=seed, n_steps=8, batch_size=8, device="cpu")
        model.policy.action_net.linear.bias.data.fill_(float(seed))
        if not found or seed:
            path = save_agent(folder, model, env, None, {"algorithm": "ppo"})
        found.append(records_of([str(path)], out=tmp_path / "duel", **small))
    assert [len(lines(tmp_path / "duel")), *map(len, found)] == [2, 1, 1, 1]
    models = [records.results[0].versions["model"] for records in found]
    assert models[0] == models[1] != models[2]
    assert found[2].results[0].learned and found[2].results[0].policy == "ppo"


# ---------------------------------------------------------------------- failures
class Moody(Uniform):
    """Uniform, but it raises where less than half of the network is to go."""

    healthy = False

    def predict(self, observation, *args, **kwargs):
        left = observation[self._columns.index("budget_left")]
        if left < 0.5 and not Moody.healthy:
            raise ArithmeticError("not today")
        return super().predict(observation, *args, **kwargs)


def test_a_policy_that_raises_is_a_record_and_is_tried_again(run, tmp_path, monkeypatch):
    monkeypatch.setattr(Moody, "healthy", False)
    register_policy("moody", Moody)
    records = records_of(["moody", "uniform"], out=tmp_path, **SETTING)
    assert {(r.policy, r.budget) for r in records.failures} == {("moody", 0.3)} and len(records.failures) == 4
    assert {(r.policy, r.budget) for r in records.results} == {("moody", 0.6), ("uniform", 0.3), ("uniform", 0.6)}
    failure = records.failures[0]
    assert failure.error == "ArithmeticError: not today" and "in predict" in failure.traceback
    assert numbers(records).items() >= {k: v for k, v in numbers(run[1]).items() if k[0] == "uniform"}.items()

    again = records_of(["moody", "uniform"], out=tmp_path, **SETTING)
    assert len(again.failures) == 4 and len(lines(tmp_path)) == 16 + 4

    monkeypatch.setattr(Moody, "healthy", True)
    healed = records_of(["moody", "uniform"], out=tmp_path, **SETTING)
    assert not healed.failures and len(healed.results) == 16 and len(lines(tmp_path)) == 16 + 4 + 4
    kinds = [type(record) for record in read(tmp_path / "records.jsonl") if record.policy == "moody"]
    assert kinds.count(Failure) == 8 and kinds[-4:] == [Result] * 4


@pytest.mark.parametrize("answer", [np.full(3, np.nan), np.full(2, 0.5), np.full(3, 2.0), None])
def test_an_answer_that_the_environment_refuses_is_a_failure(tmp_path, answer):
    class Broken(Uniform):
        def predict(self, observation, state=None, **kwargs):
            return answer, state

    register_policy("broken", Broken)
    records = records_of(["broken"], out=tmp_path, **{**SETTING, "networks": 1, "seeds": 1, "budgets": (0.5,)})
    assert len(records.failures) == 1 and not records.results
    assert records.failures[0].error.startswith(("ValueError: ", "TypeError: "))


def test_a_budget_out_of_reach_is_a_failure_that_says_so(tmp_path):
    records = records_of(["uniform"], out=tmp_path, **{**SETTING, "networks": 1, "seeds": 1, "budgets": (0.5, 0.9999)})
    assert [r.budget for r in records.results] == [0.5]
    assert "budget 0.9999 cannot be reached" in records.failures[0].error


# ---------------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    ("names", "changes", "message"),
    [
        (["uniform", "fischer"], {}, "unknown policy 'fischer'"),
        (["nowhere/model.zip"], {}, "no file 'nowhere/model.zip'"),
        (["uniform", "uniform"], {}, r"several policies are called \['uniform'\]"),
        (["uniform"], {"budgets": (0.5, 0.0)}, r"sparsity in \(0, 1\); got 0"),
        (["uniform"], {"budgets": (1.0,)}, r"got 1\.0"),
        (["uniform"], {"budgets": (-0.1,)}, r"got -0\.1"),
        (["uniform"], {"budgets": (math.nan,)}, "got nan"),
        (["uniform"], {"seeds": 0}, "seeds must be at least 1"),
        (["uniform"], {"env_options": {**OPTIONS, "pool": 3}}, "pool cannot be set in env_options"),
    ],
)
def test_mistakes_in_names_and_budgets_are_found_before_anything_runs(tmp_path, monkeypatch, names, changes, message):
    monkeypatch.setattr(comparison, "_environment", lambda setting: pytest.fail("something ran"))
    with pytest.raises(ValueError, match=message):
        records_of(names, out=tmp_path / "run", **{**SETTING, **changes})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("names", "changes", "message"),
    [
        (["uniform", "l2"], {"env_options": {**OPTIONS, "observation": "importance"}}, "weight_rms"),
        (["uniform"], {"env_options": {**OPTIONS, "rounds": 0}}, r"rounds must be .* in \[1, "),
        (["uniform"], {"env_options": {**OPTIONS, "colour": "red"}}, "colour"),
        (["uniform"], {"networks": 0}, r"pool must be .* in \[1, "),
        (["uniform"], {"split": "test"}, "split must be 'train' or 'held_out', got 'test'"),
    ],
)
def test_what_does_not_fit_the_environment_is_found_before_any_episode(tmp_path, monkeypatch, names, changes, message):
    monkeypatch.setattr(PruningEnv, "step", lambda *args: pytest.fail("an episode was run"))
    with pytest.raises(ValueError, match=message):
        records_of(names, out=tmp_path / "run", **{**SETTING, **changes})
    assert not (tmp_path / "run").exists()
