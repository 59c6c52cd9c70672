"""Tuning: trials on training networks, shared by processes, given back when they are interrupted."""

import os
import sys

import gymnasium as gym
import numpy as np
import optuna
import pytest
import yaml
from gymnasium.spaces import Box
from optuna.trial import TrialState
from tiny_agents import ENV_ID, OPTIONS

from prune_env.agents import ALGORITHMS, SEARCH_SPACES, check_hyperparams, load_hyperparams, trials, tune_agent
from prune_env.agents import tune as tune_module
from prune_env.agents.callbacks import PruningScalars
from prune_env.agents.hyperparameters import make_algorithm
from prune_env.agents.saved import read_description
from prune_env.agents.trials import PRUNERS, ask, give_back, open_study
from prune_env.dense import pool
from prune_env.dense.pool import HELD_OUT_SEEDS
from prune_env.targets.autoencoder import Autoencoder


class Blank(gym.Env):
    """Spaces like those of a pruning environment with 3 groups and 4 columns."""

    observation_space = Box(-20, 20, (12,), dtype=np.float32)
    action_space = Box(-1, 1, (3,), dtype=np.float32)


FIXED = {"n_steps": 8, "batch_size": 8, "n_epochs": 1}


@pytest.fixture
def tune(tmp_path):
    """`tune_agent` for few short trials on tiny networks; arguments override."""

    def run(**changes):
        arguments = {
            "env_options": OPTIONS,
            "trials": 2,
            "timesteps": 16,
            "n_envs": 1,
            "hyperparams": FIXED,
            "eval_every": 8,
            "eval_episodes": 2,
            "progress": False,
        }
        return tune_agent("ppo", ENV_ID, tmp_path / "tune", **(arguments | changes))

    return run


def study_of(folder, name=f"ppo on {ENV_ID}"):
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "tune" / "study.journal"))
    return optuna.load_study(study_name=name, storage=optuna.storages.JournalStorage(backend))


# ---------------------------------------------------------------------- results
def test_the_best_hyperparameters_are_written_and_training_takes_them(tune, train, tmp_path):
    path = tune()
    study, best = study_of(tmp_path), yaml.safe_load(path.read_text())
    assert path == tmp_path / "tune" / "best.yaml" and path.read_text().startswith(
        "# Hyperparameters by prune-env tune"
    )
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    assert best == study.best_trial.user_attrs["hyperparams"] and best["n_steps"] == 8 and best["n_envs"] == 1
    assert len(study.best_trial.intermediate_values) == 2
    trained = train(tmp_path / "best", hyperparams=best)
    assert read_description(trained)["made_by"]["hyperparams"]["learning_rate"] == best["learning_rate"]
    # what is not drawn of the policy network stays as in the YAML file
    assert set(best["policy_kwargs"]) == set(load_hyperparams("ppo", ENV_ID)["policy_kwargs"])


def test_a_study_goes_on_and_a_seed_draws_the_same(tune, tmp_path):
    first = {}
    for number in (1, 2):
        tune(trials=number)
        first[number] = [trial.params for trial in study_of(tmp_path).trials]
    assert len(first[1]) == 1 and len(first[2]) == 2 and first[2][0] == first[1][0] != first[2][1]
    (tmp_path / "tune" / "study.journal").unlink()
    tune(trials=2)
    assert [trial.params for trial in study_of(tmp_path).trials] == first[2]


def test_callbacks_see_every_trial(tune):
    seen = []
    tune(callbacks=[lambda study, trial: seen.append((trial.number, trial.state))])
    assert seen == [(0, TrialState.COMPLETE), (1, TrialState.COMPLETE)]


def test_a_trial_that_the_pruner_stops_is_trained_no_further(tune, tmp_path, monkeypatch):
    monkeypatch.setitem(PRUNERS, "always", lambda timesteps, every: optuna.pruners.ThresholdPruner(lower=1e9))
    with pytest.raises(ValueError, match=r"no trial of the study .* is finished"):
        tune(pruner="always", trials=1)
    (trial,) = study_of(tmp_path).trials
    assert trial.state == TrialState.PRUNED and list(trial.intermediate_values) == [8]


def test_pruners_are_optunas():
    kinds = {name: type(make(2048, 256)) for name, make in PRUNERS.items()}
    assert kinds["median"] is optuna.pruners.MedianPruner
    assert kinds["halving"] is optuna.pruners.SuccessiveHalvingPruner and kinds["none"] is optuna.pruners.NopPruner


# ---------------------------------------------------------------------- training networks only
def test_held_out_networks_and_test_data_are_never_used(tune, monkeypatch):
    loaded, scored = set(), set()
    load, score = pool.load_checkpoint, Autoencoder.score

    def watched_load(spec):
        loaded.add(spec.seed)
        return load(spec)

    def watched_score(self, model, split):
        scored.add(split)
        return score(self, model, split)

    monkeypatch.setattr(pool, "load_checkpoint", watched_load)
    monkeypatch.setattr(Autoencoder, "score", watched_score)
    tune(trials=1)
    assert loaded == {0, 1} and max(loaded) < HELD_OUT_SEEDS and scored == {"validation"}


def test_another_split_is_refused(tune, tmp_path):
    with pytest.raises(ValueError, match="tuned on training networks only; leave out split='held_out'"):
        tune(env_options={**OPTIONS, "split": "held_out"})
    assert not (tmp_path / "tune").exists()


# ---------------------------------------------------------------------- interruptions and failures
def test_an_interrupted_trial_is_tried_again(tune, tmp_path, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PruningScalars, "_on_step", interrupted)
        tune(trials=1)
    failed, waiting = study_of(tmp_path).trials
    assert (failed.state, waiting.state) == (TrialState.FAIL, TrialState.WAITING)
    tune(trials=1)
    _, done = study_of(tmp_path).trials
    assert done.state == TrialState.COMPLETE and done.params == failed.params


def test_three_failures_in_a_row_end_the_study(tune, tmp_path, monkeypatch):
    def diverged(*args, **options):
        raise ValueError("nan")

    monkeypatch.setattr(tune_module, "train_agent", diverged)
    with pytest.raises(ValueError, match=r"3 trials in a row failed, the last with \{'n_steps': 8.*: nan"):
        tune(trials=5)
    failed = study_of(tmp_path).trials
    assert [trial.state for trial in failed] == [TrialState.FAIL] * 3
    assert failed[0].user_attrs["error"] == "ValueError: nan"


# ---------------------------------------------------------------------- shared by processes
DEAD = f"{trials.platform.node()}:{2**22 + 1}:1"  # above the largest number of a process of Linux
STORAGES = pytest.mark.parametrize("storage", ["sqlite:///{}/tune.db", "{}/tune.journal"])


@pytest.fixture
def opened(tmp_path):
    def run(storage, config=None):
        return open_study(storage.format(tmp_path), "shared", optuna.pruners.NopPruner(), config or {"a": 1})

    return run


@STORAGES
def test_processes_share_a_storage_and_the_number_of_trials(opened, monkeypatch, storage):
    monkeypatch.setattr(trials, "_is_running", lambda process, started: True)  # both are this process
    here, there = opened(storage), opened(storage)
    first, second = ask(here, 2, seed=0), ask(there, 2, seed=0)
    assert [first.number, second.number] == [0, 1] and ask(here, 2, seed=0) is None
    assert first.suggest_float("x", 0, 1) != second.suggest_float("x", 0, 1)
    counted = trials._counted
    early = iter([True])  # others ask between the count and the trial
    monkeypatch.setattr(trials, "_counted", lambda study: [] if next(early, None) else counted(study))
    assert ask(here, 2, seed=0) is None
    assert [trial.state for trial in here.trials] == [TrialState.RUNNING] * 2 + [TrialState.FAIL]


@STORAGES
def test_trials_of_a_killed_process_are_tried_again(opened, monkeypatch, storage):
    study = opened(storage)
    killed = ask(study, 1, seed=0)
    drawn = killed.suggest_float("x", 0, 1)
    killed.set_user_attr("worker", DEAD)
    again = ask(study, 1, seed=0)
    assert again.number != killed.number and again.suggest_float("x", 0, 1) == drawn
    again.set_user_attr("worker", "another machine:1:2")
    assert ask(study, 1, seed=0) is None  # it may still run


@STORAGES
def test_a_process_killed_while_it_asks_leaves_no_trial_that_runs_for_ever(opened, monkeypatch, storage):
    study = opened(storage)

    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trials, "_this_worker", lambda: DEAD)
        patch.setattr(optuna.Trial, "set_user_attr", killed)
        ask(study, 1, seed=0)
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING]
    assert ask(study, 1, seed=0).number == 1
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.RUNNING]


@STORAGES
def test_a_trial_that_another_process_gave_back_meanwhile_is_left_to_it(opened, monkeypatch, storage):
    study, name = opened(storage), optuna.Trial.set_user_attr
    early = iter([True])

    def given_back_meanwhile(trial, *attribute):
        if next(early, False):
            give_back(opened(storage), trial)
        name(trial, *attribute)

    monkeypatch.setattr(optuna.Trial, "set_user_attr", given_back_meanwhile)
    assert ask(study, 1, seed=0).number == 1


def test_an_interrupted_study_draws_as_one_that_was_not(opened):
    def drawn(study, interruptions):
        values = []
        while (trial := ask(study, 4, seed=0)) is not None:
            value = [trial.suggest_float("x", 0, 1)]
            if trial.number in interruptions:
                trial.set_user_attr("worker", DEAD)
                continue
            value.append(trial.suggest_float("y", 0, 1))
            study.tell(trial, sum(value))
            values.append(value)
        return values

    whole = drawn(opened("sqlite:///{}/whole.db"), ())
    assert len(whole) == 4 and len({x for x, _ in whole}) == 4
    assert drawn(opened("sqlite:///{}/cut.db"), (0, 1, 3)) == whole


def test_the_number_of_a_process_that_ended_may_be_used_again():
    parent = os.getppid()
    assert trials._is_running(parent, trials._started(parent)) and not trials._is_running(parent, "before")


def test_a_journal_whose_last_line_was_cut_is_written_on(opened, tmp_path):
    study = opened("{}/tune.journal")
    study.tell(ask(study, 9, seed=0), 1.0)
    path = tmp_path / "tune.journal"
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1][:20])
    study = opened("{}/tune.journal")
    assert path.read_bytes().startswith(whole) and path.read_bytes().count(b"\n") == whole.count(b"\n") + 1
    study.tell(ask(study, 9, seed=0), 2.0)
    assert [trial.value for trial in opened("{}/tune.journal").trials] == [1.0, 2.0]


def test_giving_back_twice_is_giving_back_once(opened):
    study = opened("{}/tune.journal")
    trial = ask(study, 1, seed=0)
    give_back(study, trial)
    give_back(study, trial)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]


@STORAGES
def test_a_study_of_another_configuration_is_refused(opened, storage):
    opened(storage)
    with pytest.raises(ValueError, match=r"the study 'shared' in .* has another configuration: a is 1 there, 2 here"):
        opened(storage, {"a": 2})


@pytest.mark.parametrize(
    "storage", ["sqlite:///{}/text", "{}/text", "sqlite:///{}/nowhere/x.db", "{}", "nosuchdb://x", "sqlite:///{}"]
)
def test_a_storage_that_cannot_be_opened_is_named(opened, tmp_path, storage):
    (tmp_path / "text").write_text("not a storage\n")
    with pytest.raises(ValueError, match=r"cannot open the storage .*give sqlite:///FILE") as raised:
        opened(storage)
    assert "\n" not in str(raised.value) and (tmp_path / "text").read_text() == "not a storage\n"


def test_a_database_without_its_driver(opened):
    with pytest.raises((ImportError, ValueError), match="postgresql://x/y"):
        opened("postgresql://x/y")


# ---------------------------------------------------------------------- search spaces
def test_every_algorithm_has_a_search_space():
    assert set(SEARCH_SPACES) == set(ALGORITHMS)


@pytest.mark.parametrize("algo", SEARCH_SPACES)
def test_whatever_is_drawn_is_accepted_by_the_algorithm(algo):
    settings = load_hyperparams(algo, ENV_ID)
    buffer = {"buffer_size": 10} if "learning_starts" in settings else {}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        drawn = tune_module._hyperparams(algo, study.ask(), settings, {})
        check_hyperparams(algo, settings | drawn)
        if "n_steps" in drawn and "batch_size" in drawn:
            assert drawn["n_envs"] * drawn["n_steps"] % drawn["batch_size"] == 0
        made = make_algorithm(algo, Blank(), settings | drawn | buffer, seed=0, tensorboard_log=None)
        assert made.policy is not None


def test_another_policy_network_has_its_own_width():
    settings = {**load_hyperparams("ppo", ENV_ID), "policy": "MlpPolicy", "policy_kwargs": {}}
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    drawn = tune_module._hyperparams("ppo", trial, settings, {"gamma": 0.5, "policy": "MlpPolicy"})
    assert set(drawn["policy_kwargs"]) == {"net_arch", "log_std_init"} and drawn["gamma"] == 0.5


# ---------------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trials": 0}, r"trials must be a whole number in \[1, inf\), got 0"),
        ({"eval_every": 17}, r"eval_every must be a whole number in \[1, 16\], got 17"),
        ({"pruner": "medium"}, "unknown pruner 'medium'; did you mean 'median'?"),
        ({"hyperparams": {"gama": 1}}, "unknown option 'gama'; did you mean 'gamma'?"),
        ({"env_options": {**OPTIONS, "rounds": 0}}, "rounds must be"),
    ],
)
def test_a_mistake_is_named_before_a_study_begins(tune, tmp_path, changes, said):
    with pytest.raises(ValueError, match=said):
        tune(**changes)
    assert not (tmp_path / "tune").exists()


def test_optuna_is_an_extra(tune, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"tuning needs Optuna .*pip install 'prune_env\[tune\]'"):
        tune()
    assert not (tmp_path / "tune").exists()
